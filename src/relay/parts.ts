import type { World } from "../base/index.ts";
import type { StdioCommand, ToolDefinition, Upstream, Upstreams } from "../upstreams/index.ts";
import type { CallerTokens, Vault } from "../vault/index.ts";

/** What the relay needs of an upstream. */
export type RelayUpstream = Pick<
  Upstream,
  "id" | "name" | "url" | "perUser" | "headers" | "generation" | "era" | "timeoutMs"
> &
  Partial<Pick<Upstream, "perUserHeaderKeys" | "shared" | "exchanged" | "oauth" | "tls" | "connectionType">>;

export type UpstreamTool = ToolDefinition;

/** Without `wantScopes` nobody is asked for more than a credential has. */
export type RelayVault = Pick<Vault, "open" | "openWarm" | "markRejected"> &
  Partial<Pick<Vault, "wantScopes">>;

/** Everything the relay stands on, built in app.ts. */
export interface RelayParts {
  world: World;
  /** Our own version, told to upstreams. */
  version: string;
  /** Remembers how an upstream speaks, for the next start and other replicas. */
  upstreams: Pick<Upstreams, "recordEra">;
  /** How upstreams that are programs are started, by name; from the configuration file. */
  commands?: ReadonlyMap<string, StdioCommand>;
  vault: RelayVault;
  /** Without it nobody can call where callers' own tokens are exchanged. */
  callerTokens?: Pick<CallerTokens, "openWarm" | "open" | "markRejected">;
  /** Milliseconds of the first pause after a stream that stands was lost; a test has no time. */
  firstPauseMs?: number;
}
