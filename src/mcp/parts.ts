import type { Access, AnonymousSessions, VirtualKeys, VirtualMcps } from "../access/index.ts";
import type { Audit } from "../audit/index.ts";
import type { KeyedHash, Seal, Settings, World } from "../base/index.ts";
import type { Connect } from "../connect/index.ts";
import type { Database } from "../db/index.ts";
import type { RateLimits } from "../http/index.ts";
import type { JwtIdentities } from "../identity/index.ts";
import type { Issuer } from "../issuer/index.ts";
import type { Relay } from "../relay/index.ts";
import type { ToolLists, Upstreams } from "../upstreams/index.ts";
import type { Vault } from "../vault/index.ts";
import type { ClientStreams } from "./client-streams.ts";

/** One finished `tools/call`. */
export interface CallReport {
  upstream: string;
  tool: string;
  outcome: string;
  durationMs: number;
}

/** Everything `/mcp` stands on, built in app.ts. */
export interface McpParts {
  world: World;
  settings: Settings;
  /** Our own version, told to clients. */
  version: string;
  seal: Seal;
  database: Database;
  hash: KeyedHash;
  limits: Pick<RateLimits, "take">;
  issuer: Pick<Issuer, "authenticate" | "known">;
  virtualKeys: Pick<VirtualKeys, "authenticate" | "find">;
  /** Absent: no JWT counts. */
  jwts?: Pick<JwtIdentities, "known" | "prove">;
  access: Pick<Access, "known" | "rulesFor" | "validUntil">;
  virtualMcps: Pick<VirtualMcps, "serving">;
  anonymousSessions: Pick<AnonymousSessions, "used">;
  upstreams: Pick<Upstreams, "version" | "all" | "find" | "settled">;
  /** Reads for the first time, and anew what an upstream says has changed. */
  tools: Pick<ToolLists, "firstRead" | "announced"> & Partial<Pick<ToolLists, "met">>;
  vault: Pick<Vault, "statuses" | "find" | "severalAccounts">;
  relay: Pick<Relay, "call" | "watch">;
  connect: Pick<Connect, "start">;
  audit: Pick<Audit, "note">;
  /** Streams on which clients listen; ours to make unless somebody has to close them. */
  streams?: ClientStreams;
  onCall(report: CallReport): void;
  /** How long a repeated call waits for a person who has opened the link, in milliseconds; default 8,000. */
  waitMs?: number;
}
