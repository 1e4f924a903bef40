import type { HeaderReader } from "../http/index.ts";
/** What the request itself leaves of the caller's tools. Filters only narrow (contract section 8). */
export interface Filters {
  allow(entry: { name: string; upstream: { name: string } }): boolean;
  /** For what has no name of a tool: whether anything of the upstream is left. */
  allowUpstream(upstream: { name: string }): boolean;
}

const everything: Filters = { allow: () => true, allowUpstream: () => true };

/**
 * Reads `x-bf-mcp-include-clients` (upstream names) and `x-bf-mcp-include-tools` (exposed names, or `{upstream}-*`);
 * `*` is all. A header that is there but empty is none.
 */
export function readFilters(headers: HeaderReader): Filters {
  const clients = names(headers.get("x-bf-mcp-include-clients"));
  const tools = names(headers.get("x-bf-mcp-include-tools"));
  if (clients === undefined && tools === undefined) return everything;
  return {
    allowUpstream: ({ name }) =>
      (clients === undefined || clients.has("*") || clients.has(name)) &&
      (tools === undefined || [...tools].some((tool) => tool === "*" || tool.startsWith(`${name}-`))),
    allow: ({ name, upstream }) =>
      (clients === undefined || clients.has("*") || clients.has(upstream.name)) &&
      (tools === undefined || tools.has("*") || tools.has(name) || tools.has(`${upstream.name}-*`)),
  };
}

function names(header: string | null): ReadonlySet<string> | undefined {
  if (header === null) return undefined;
  return new Set(
    header
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== ""),
  );
}
