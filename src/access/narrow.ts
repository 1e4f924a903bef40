import type { AllowedTools, Rules } from "./decide.ts";
import type { VirtualMcp } from "./virtual-mcp.ts";

/** What of `rules` a virtual MCP offers: what both allow, never more than either. Pure. */
export function narrow(rules: Rules, { allowed }: Pick<VirtualMcp, "allowed">): Rules {
  const upstreams = new Map<string, AllowedTools>();
  for (const [upstreamId, tools] of allowed) {
    const own = rules.upstreams.get(upstreamId);
    if (own !== undefined) upstreams.set(upstreamId, intersect(own, tools));
  }
  return { upstreams };
}

function intersect(a: AllowedTools, b: AllowedTools): AllowedTools {
  if (a === "*") return b;
  return b === "*" ? a : new Set([...a].filter((tool) => b.has(tool)));
}

/** Narrowed rules are computed once for each pair; both are replaced, never changed, so a new pair is a new key. */
export class Narrowed {
  readonly #known = new WeakMap<Rules, WeakMap<VirtualMcp, Rules>>();

  of(rules: Rules, virtualMcp: VirtualMcp): Rules {
    let byMcp = this.#known.get(rules);
    if (!byMcp) {
      byMcp = new WeakMap();
      this.#known.set(rules, byMcp);
    }
    let narrowed = byMcp.get(virtualMcp);
    if (!narrowed) {
      narrowed = narrow(rules, virtualMcp);
      byMcp.set(virtualMcp, narrowed);
    }
    return narrowed;
  }
}
