import type { Upstream } from "../upstreams/index.ts";
import { type AllowedTools, type Rules, toolSet, unite } from "./decide.ts";
import type { KeyConfig, VirtualKey } from "./virtual-key.ts";

/** What matters of an upstream here. */
export type Shared = Pick<Upstream, "id" | "allowOnAllVirtualKeys">;

/** Its own rows, and what is allowed on all keys; a row of its own wins, also when it narrows. */
export function rulesOfKey(configs: readonly KeyConfig[], upstreams: readonly Shared[]): Rules {
  const known = new Set(upstreams.map((upstream) => upstream.id));
  const allowed = sharedWithAll(upstreams);
  for (const { upstreamId, tools } of configs) {
    // No tools at all is no access: there is nothing to connect an account for.
    if (tools.length === 0) allowed.delete(upstreamId);
    else if (known.has(upstreamId)) allowed.set(upstreamId, toolSet(tools));
  }
  return { upstreams: allowed };
}

/** What is allowed on all keys, what is theirs by name or by a group, and whatever any key of theirs allows. */
export function rulesOfUser(
  given: readonly KeyConfig[],
  keys: readonly VirtualKey[],
  upstreams: readonly Shared[],
): Rules {
  const known = new Set(upstreams.map((upstream) => upstream.id));
  const allowed = sharedWithAll(upstreams);
  for (const { upstreamId, tools } of [given, ...keys.map((key) => key.configs)].flat()) {
    if (tools.length > 0 && known.has(upstreamId))
      allowed.set(upstreamId, unite(allowed.get(upstreamId), toolSet(tools)));
  }
  return { upstreams: allowed };
}

function sharedWithAll(upstreams: readonly Shared[]): Map<string, AllowedTools> {
  return new Map(
    upstreams.filter((upstream) => upstream.allowOnAllVirtualKeys).map((upstream) => [upstream.id, "*"]),
  );
}
