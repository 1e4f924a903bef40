import type { World } from "../base/index.ts";
import type { ToolDefinition, Upstream, Upstreams } from "../upstreams/index.ts";
import type { Vault } from "../vault/index.ts";

/** What the relay needs of an upstream. */
export type RelayUpstream = Pick<
  Upstream,
  "id" | "name" | "url" | "perUser" | "headers" | "generation" | "era" | "timeoutMs"
> &
  Partial<Pick<Upstream, "perUserHeaderKeys" | "shared" | "oauth" | "tls">>;

export type UpstreamTool = ToolDefinition;

/** Everything the relay stands on, built in app.ts. */
export interface RelayParts {
  world: World;
  /** Our own version, told to upstreams. */
  version: string;
  /** Remembers how an upstream speaks, for the next start and other replicas. */
  upstreams: Pick<Upstreams, "recordEra">;
  vault: Pick<Vault, "open" | "openWarm" | "markRejected">;
}
