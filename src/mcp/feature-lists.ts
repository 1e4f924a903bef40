import type { Filters } from "./filters.ts";
import type { Offer, Prompt } from "./offers.ts";
import type { Named } from "./resource-names.ts";

interface Listed {
  name: string;
  modern: unknown;
  legacy: unknown;
}

/** One of the lists beside `tools/list`. */
export interface FeatureList {
  /** The list's name in the result. */
  member: string;
  /** Without it there is no such list for this caller. */
  capability: string;
  /** What of `offer` is listed, in the order of names; `hidden`: what is not shown in front of prompts. */
  of(offer: Offer, filters: Filters, hidden: string | undefined): Listed[];
}

const lists: Readonly<Record<string, FeatureList>> = {
  "prompts/list": {
    member: "prompts",
    capability: "prompts",
    of: ({ prompts }, filters, hidden) =>
      [...prompts.values()]
        .filter((prompt) => filters.allow(prompt))
        .map((prompt) => promptAs(prompt, hidden)),
  },
  "resources/list": {
    member: "resources",
    capability: "resources",
    of: ({ names }, filters) => namedAs(names.resources, filters, "uri"),
  },
  "resources/templates/list": {
    member: "resourceTemplates",
    capability: "resources",
    of: ({ names }, filters) => namedAs(names.templates, filters, "uriTemplate"),
  },
};

export function featureList(method: string): FeatureList | undefined {
  return Object.hasOwn(lists, method) ? lists[method] : undefined;
}

/** Every field as the upstream gave it, under the name clients see. */
function promptAs({ name, definition }: Prompt, hidden: string | undefined): Listed {
  const shown = hidden !== undefined && name.startsWith(hidden) ? name.slice(hidden.length) : name;
  return same(shown, { ...definition, name: shown });
}

function namedAs(all: readonly Named[], filters: Filters, key: "uri" | "uriTemplate"): Listed[] {
  return all
    .filter(({ upstream }) => filters.allowUpstream(upstream))
    .map(({ name, definition }) => same(name, { ...definition, [key]: name }));
}

/** What is listed is the same in both eras. */
function same(name: string, definition: unknown): Listed {
  return { name, modern: definition, legacy: definition };
}
