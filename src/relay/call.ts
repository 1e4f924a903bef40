import type { Gone, Hidden, Json, JsonObject, Owner } from "../base/index.ts";
import type { RelayUpstream } from "./parts.ts";

/** The client on the other side of the gateway, as it described itself in this request or at `initialize`. */
export interface ClientView {
  era: "modern" | "legacy";
  capabilities: JsonObject;
  info?: JsonObject;
}

export interface Notification {
  method: string;
  params?: JsonObject;
}

/** `id`: unique in this process, so that no session is shared with it. */
export interface Trial {
  id: number;
  headers: Readonly<Record<string, Hidden>>;
}

/** One request for one upstream. `params` carries the upstream's own names. */
export interface RelayCall {
  /** Whose credential; absent for an upstream that everybody shares. */
  owner?: Owner;
  /** Which of several accounts, by its label; absent: the default. */
  account?: string;
  /** Values to try instead of a stored credential; nothing of this call is kept for another. */
  trial?: Trial;
  upstream: RelayUpstream;
  method: string;
  params: JsonObject | undefined;
  client: ClientView;
  /** `Mcp-Param-*` headers for a modern upstream, values encoded. */
  paramHeaders?: Readonly<Record<string, string>>;
  /** Headers of the client's own request that go on with this one, names in lower case, values checked. */
  extraHeaders?: Readonly<Record<string, string>>;
  /** Aborts when the client is gone; the upstream is told. */
  signal: Gone;
  /** Progress and log messages of this request, in order. A returned promise holds the upstream back. */
  onNotification?(notification: Notification): void | Promise<void>;
}

export type RelayFailure =
  | "upstream_address_refused"
  | "upstream_unreachable"
  | "upstream_timeout"
  | "upstream_protocol"
  | "upstream_too_large"
  | "upstream_refused"
  | "cancelled"
  | "credential_unavailable";

/** `account`: the label of the account that was used, where it has one. */
export type Relayed = { account?: string } & (
  | { outcome: "result"; result: JsonObject }
  | { outcome: "error"; error: { code: number; message: string; data?: Json } }
  | { outcome: "needs_user"; reason: "missing" | "needs_reauth" | "needs_update" | "orphaned" }
  | { outcome: "failed"; code: RelayFailure; retryable: boolean }
);
