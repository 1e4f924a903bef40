import type { Upstream } from "../upstreams/index.ts";

/** Original tool names, or all of them. */
export type AllowedTools = "*" | ReadonlySet<string>;

/** What an identity may use: upstream id → tools. An upstream that is not in the map may not be used. */
export interface Rules {
  readonly upstreams: ReadonlyMap<string, AllowedTools>;
}

/**
 * Whether an identity with `rules` may use `upstream`, or its tool `tool` (original name). Pure; asked when tools are
 * listed and again when one is called.
 */
export function decide(rules: Rules, upstream: Upstream, tool?: string): boolean {
  if (upstream.disabled) return false;
  const allowed = rules.upstreams.get(upstream.id);
  if (allowed === undefined) return false;
  if (tool === undefined) return true;
  return includes(upstream.toolsToExecute, tool) && (allowed === "*" || allowed.has(tool));
}

function includes(tools: readonly string[], tool: string): boolean {
  return tools.includes("*") || tools.includes(tool);
}

/** A list as administrators write it; `["*"]` is all. */
export function toolSet(tools: readonly string[]): AllowedTools {
  return tools.includes("*") ? "*" : new Set(tools);
}

/** What either allows. */
export function unite(a: AllowedTools | undefined, b: AllowedTools): AllowedTools {
  if (a === undefined || b === "*") return b;
  return a === "*" ? a : new Set([...a, ...b]);
}
