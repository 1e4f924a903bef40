import type { Rules } from "../access/index.ts";
import type { ToolDefinition, Upstream } from "../upstreams/index.ts";
import { isObject } from "./body.ts";
import type { Catalog, Entry } from "./catalog.ts";
import type { Filters } from "./filters.ts";
import type { Offer } from "./offers.ts";

/** Before `_meta.ui.resourceUri` the page stood here; hosts read both (MCP Apps). */
const FLAT = "ui/resourceUri";

/** Tools with the pages they show (MCP Apps) under the URIs that this caller reads them by. */
export function withPages(entries: readonly Entry[], { names }: Offer): readonly Entry[] {
  return entries.map((entry) => {
    const named = (definition: ToolDefinition) =>
      withPage(definition, (uri) => names.nameOf(entry.upstream, uri));
    return pageOf(entry.modern) === undefined
      ? entry
      : { ...entry, modern: named(entry.modern), legacy: named(entry.legacy) };
  });
}

function withPage(definition: ToolDefinition, nameOf: (uri: string) => string): ToolDefinition {
  const meta = { ...(definition._meta as Record<string, unknown>) };
  if (typeof meta[FLAT] === "string") meta[FLAT] = nameOf(meta[FLAT]);
  const { ui } = meta;
  if (isObject(ui) && typeof ui.resourceUri === "string")
    meta.ui = { ...ui, resourceUri: nameOf(ui.resourceUri) };
  return { ...definition, _meta: meta };
}

function pageOf({ _meta }: ToolDefinition): string | undefined {
  if (!isObject(_meta)) return undefined;
  const uri = isObject(_meta.ui) ? _meta.ui.resourceUri : undefined;
  const found = uri ?? _meta[FLAT];
  return typeof found === "string" ? found : undefined;
}

/**
 * The tool that a page calls by the name its own server gave it, since nobody rewrites what a page says. Only tools of
 * upstreams that have pages, only what this caller may call, and nothing where two have the name (MC-18).
 */
export function calledByPage(
  catalog: Catalog,
  name: string,
  rules: Rules,
  filters: Filters,
): Entry | undefined {
  const known = new Map<Upstream, boolean>();
  const hasPages = (upstream: Upstream) => {
    const found = known.get(upstream) ?? upstream.tools.some((tool) => pageOf(tool) !== undefined);
    known.set(upstream, found);
    return found;
  };
  const called = catalog
    .list(rules, filters)
    .filter(({ tool, upstream }) => tool === name && hasPages(upstream));
  return called.length === 1 ? called[0] : undefined;
}
