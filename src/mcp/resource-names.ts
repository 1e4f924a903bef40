import type { FeatureDefinition, Upstream } from "../upstreams/index.ts";
import { readableIn } from "./readable.ts";
import { type UriTemplate, uriTemplate } from "./uri-template.ts";

/** A resource, or a template, under the URI that clients see. */
export interface Named {
  /** What the list is ordered by: the exposed URI or template. */
  name: string;
  upstream: Upstream;
  /** The upstream's own URI, or template. */
  own: string;
  definition: FeatureDefinition;
}

interface NamedTemplate extends Named {
  template: UriTemplate;
}

/** Whose a URI is, and how its own server calls it. */
export interface Found {
  upstream: Upstream;
  own: string;
}

/** An App's page keeps its scheme, or no host would show it (MCP Apps). */
const UI = "ui://";
const UI_PREFIX = "ui://postern/";
const PREFIX = "postern://";

/**
 * The resources and templates of one set of upstreams under names that meet nowhere (docs/decisions/0015): the upstream's
 * own URI where no other upstream of the set has or covers it, else with the upstream's name in front. Who comes later can
 * take no URI over (MC-18, MC-19).
 */
export class ResourceNames {
  readonly resources: readonly Named[];
  readonly templates: readonly Named[];
  readonly #upstreams: readonly Upstream[];
  readonly #byName = new Map<string, Named>();
  readonly #plain: readonly NamedTemplate[];

  /** `upstreams` in the order of their names. */
  constructor(upstreams: readonly Upstream[]) {
    this.#upstreams = upstreams.filter(offersResources);
    const templates = this.#upstreams.flatMap(templatesOf);
    for (const one of templates)
      if (this.#coveredElsewhere(one, templates)) one.name = prefixed(one.upstream, one.own);
    const listed = this.#upstreams.flatMap(resourcesOf);
    const owners = ownersOf(listed);
    for (const one of listed) {
      const shared = owners.get(one.own) === undefined || templates.some((other) => covers(other, one));
      if (shared || isReserved(one.own)) one.name = prefixed(one.upstream, one.own);
    }
    this.resources = byName(listed);
    this.templates = byName(templates);
    this.#plain = templates.filter(({ name, own }) => name === own);
    for (const one of this.resources) this.#byName.set(one.name, one);
  }

  /** Whose URI this is; undefined: nobody's, or it cannot be told whose. */
  find(uri: string): Found | undefined {
    const listed = this.#byName.get(uri);
    if (listed) return listed;
    if (isReserved(uri)) return this.#unprefixed(uri);
    const covering = new Set(
      this.#plain.filter(({ template }) => template.matches(uri)).map(({ upstream }) => upstream),
    );
    const [only] = covering.size > 0 ? covering : this.#sharing(uri);
    return only && covering.size <= 1 ? { upstream: only, own: uri } : undefined;
  }

  /** The upstream's own template behind an exposed one. */
  findTemplate(name: string): Found | undefined {
    return this.templates.find((one) => one.name === name);
  }

  /** What clients call `own` of `upstream`: the name under which `find` leads back to it. */
  nameOf(upstream: Upstream, own: string): string {
    const found = this.find(own);
    return found?.upstream.id === upstream.id && found.own === own ? own : prefixed(upstream, own);
  }

  /**
   * For URIs that nobody listed, as links in results may be: the one upstream that uses the scheme, if there is one. Never
   * a second guess: a URI is shown to no server that it may not be meant for.
   */
  #sharing(uri: string): readonly Upstream[] {
    const scheme = schemeOf(uri);
    const known = [...this.resources, ...this.templates].filter(({ own }) => schemeOf(own) === scheme);
    const using = new Set(known.map(({ upstream }) => upstream));
    if (using.size === 0) return this.#upstreams.length === 1 ? this.#upstreams : [];
    return using.size === 1 ? [...using] : [];
  }

  #unprefixed(uri: string): Found | undefined {
    const rest = uri.slice((uri.startsWith(UI_PREFIX) ? UI_PREFIX : PREFIX).length);
    const slash = rest.indexOf("/");
    const upstream = this.#upstreams.find(({ name }) => name === rest.slice(0, slash));
    return upstream && { upstream, own: rest.slice(slash + 1) };
  }

  /** Two templates that begin alike may expand to one URI; whether they do is not looked into. */
  #coveredElsewhere(one: NamedTemplate, all: readonly NamedTemplate[]): boolean {
    if (isReserved(one.own)) return true;
    const { prefix } = one.template;
    return all.some(
      ({ upstream, template }) =>
        upstream !== one.upstream &&
        (template.prefix.startsWith(prefix) || prefix.startsWith(template.prefix)),
    );
  }
}

function offersResources({ features }: Upstream): boolean {
  return features?.capabilities.resources !== undefined;
}

/** Listed twice by one upstream is listed once. */
function resourcesOf(upstream: Upstream): Named[] {
  const unique = new Map(
    readableIn("resource", upstream.features?.resources).map((one) => [String(one.uri), one]),
  );
  return [...unique].map(([uri, definition]) => ({ name: uri, upstream, own: uri, definition }));
}

function templatesOf(upstream: Upstream): NamedTemplate[] {
  const templates = readableIn("template", upstream.features?.templates);
  const unique = new Map(templates.map((one) => [String(one.uriTemplate), one]));
  return [...unique].map(([own, definition]) => ({
    name: own,
    upstream,
    own,
    definition,
    template: uriTemplate(own),
  }));
}

/** URI to its upstream; absent where several list it. */
function ownersOf(listed: readonly Named[]): Map<string, Upstream | undefined> {
  const owners = new Map<string, Upstream | undefined>();
  for (const { own, upstream } of listed) owners.set(own, owners.has(own) ? undefined : upstream);
  return owners;
}

function covers({ upstream, template, name, own }: NamedTemplate, one: Named): boolean {
  return name === own && upstream !== one.upstream && template.matches(one.own);
}

function isReserved(uri: string): boolean {
  return uri.startsWith(PREFIX) || uri.startsWith(UI_PREFIX);
}

function prefixed({ name }: Upstream, own: string): string {
  return `${own.startsWith(UI) ? UI_PREFIX : PREFIX}${name}/${own}`;
}

function schemeOf(uri: string): string {
  return uri.slice(0, Math.max(uri.indexOf(":"), 0)).toLowerCase();
}

function byName<N extends Named>(all: readonly N[]): N[] {
  return [...all].sort((a, b) => (a.name < b.name ? -1 : 1));
}
