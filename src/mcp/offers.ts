import { decide, type Rules } from "../access/index.ts";
import type { JsonObject, Log } from "../base/index.ts";
import type { FeatureDefinition, Upstream } from "../upstreams/index.ts";
import { mayHaveTools } from "./connect-tools.ts";
import { canFollow } from "./followed-resources.ts";
import type { McpParts } from "./parts.ts";
import { readableIn } from "./readable.ts";
import { ResourceNames } from "./resource-names.ts";

/** A prompt under the name clients see. */
export interface Prompt {
  /** `{upstream}-{prompt}`; found by the map, never taken apart. */
  name: string;
  upstream: Upstream;
  own: string;
  definition: FeatureDefinition;
}

/** What a caller is offered beside tools. A value: the same upstreams in the same state give the same bytes everywhere. */
export interface Offer {
  upstreams: readonly Upstream[];
  prompts: ReadonlyMap<string, Prompt>;
  names: ResourceNames;
}

const NAME = /^[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?$/;
const MOST_OFFERS = 1_000;
/** Extensions of MCP whose traffic passes through us whole. */
const extensions = ["io.modelcontextprotocol/ui"];

/** What the upstreams of a caller offer beside tools, from what was last read of them: no I/O. */
export class Offers {
  readonly #upstreams: McpParts["upstreams"];
  readonly #log: Log;
  #version: number | undefined;
  /** By the ids of the upstreams: callers who may use the same ones share it. */
  readonly #known = new Map<string, Offer>();

  constructor(upstreams: McpParts["upstreams"], log: Log) {
    this.#upstreams = upstreams;
    this.#log = log;
  }

  of(rules: Rules): Offer {
    if (this.#version !== this.#upstreams.version || this.#known.size >= MOST_OFFERS) this.#known.clear();
    this.#version = this.#upstreams.version;
    const usable = this.#upstreams.all().filter((upstream) => mayUse(rules, upstream));
    const key = usable.map(({ id }) => id).join(" ");
    let offer = this.#known.get(key);
    if (!offer) {
      offer = { upstreams: usable, prompts: this.#prompts(usable), names: new ResourceNames(usable) };
      this.#known.set(key, offer);
    }
    return offer;
  }

  #prompts(upstreams: readonly Upstream[]): Map<string, Prompt> {
    const prompts = new Map<string, Prompt>();
    const hidden = new Set<string>();
    for (const upstream of upstreams) {
      for (const definition of readableIn("prompt", upstream.features?.prompts)) {
        const name = `${upstream.name}-${definition.name}`;
        // MC-18: of two that would have one name neither is offered.
        if (prompts.has(name) || !NAME.test(definition.name)) hidden.add(name);
        else prompts.set(name, { name, upstream, own: definition.name, definition });
      }
    }
    for (const name of hidden) prompts.delete(name);
    if (hidden.size > 0) this.#log.warn("catalog.prompts_hidden", { prompts: [...hidden].slice(0, 100) });
    return new Map([...prompts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}

/** An upstream of which the caller may use a tool, were there one: what it has beside tools goes with it. */
export function mayUse(rules: Rules, upstream: Upstream): boolean {
  return decide(rules, upstream) && mayHaveTools(rules, upstream);
}

/**
 * The capabilities for these upstreams: what one of them declared and we carry. Of an upstream that was never asked
 * anything is possible, and a client asks once.
 */
export function capabilitiesOf({ upstreams }: Pick<Offer, "upstreams">): JsonObject {
  const unknown = upstreams.some(({ features, toolsSyncedAt }) => !features && toolsSyncedAt === undefined);
  const declared = upstreams.map(({ features }) => features?.capabilities ?? {});
  const has = (name: string) => unknown || declared.some((capabilities) => capabilities[name] !== undefined);
  // Whatever changes what a caller sees is told, whether or not its upstreams tell: rules and connections change lists too.
  const listChanged = true;
  const follows = unknown || upstreams.some(canFollow);
  const offered: JsonObject = { tools: { listChanged } };
  if (has("prompts")) offered.prompts = { listChanged };
  if (has("resources")) offered.resources = { listChanged, ...(follows && { subscribe: true }) };
  if (has("completions")) offered.completions = {};
  if (has("logging")) offered.logging = {};
  const shown = extensions.filter((name) =>
    declared.some(({ extensions: own }) => typeof own === "object" && own !== null && name in own),
  );
  if (shown.length > 0) offered.extensions = Object.fromEntries(shown.map((name) => [name, {}]));
  return offered;
}
