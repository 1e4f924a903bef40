import type { Gone, Hidden, Json, JsonObject, Owner, Vouched } from "../base/index.ts";
import type { NeedsUserReason } from "../vault/index.ts";
import type { RelayUpstream } from "./parts.ts";
import type { TaskNews } from "./task-news.ts";

/** The client on the other side of the gateway, as it described itself in this request or at `initialize`. */
export interface ClientView {
  era: "modern" | "legacy";
  capabilities: JsonObject;
  info?: JsonObject;
}

export interface Notification {
  method: string;
  params?: JsonObject;
  /** Progress of a task, still under the token that its call went to the upstream with. */
  isOfTask?: true;
}

/** What an upstream asks of the client in the middle of a call: sampling, elicitation, roots. */
export interface UpstreamRequest {
  method: string;
  params?: JsonObject;
  /** Aborts when the upstream no longer wants to know, or the call is over. */
  signal: Gone;
}

export type ClientAnswer = { result: JsonObject } | { error: { code: number; message: string; data?: Json } };

/** `id`: unique in this process, so that no session is shared with it. */
export interface Trial {
  id: number;
  headers: Readonly<Record<string, Hidden>>;
}

/** One request for one upstream. `params` carries the upstream's own names. */
export interface RelayCall {
  /** Whose credential; absent for an upstream that everybody shares. */
  owner?: Owner;
  /** What the owner brought from an identity provider; needed where that is exchanged, and kept nowhere. */
  vouched?: Vouched;
  /** Which of several accounts, by its label; absent: the default. */
  account?: string;
  /** Who calls, in a word that tells two people apart; keeps what an upstream asks one of them from the other. */
  caller?: string;
  /** Values to try instead of a stored credential; nothing of this call is kept for another. */
  trial?: Trial;
  upstream: RelayUpstream;
  /** Made although the upstream could not be reached of late: by whoever finds out whether it is back. */
  insists?: boolean;
  method: string;
  params: JsonObject | undefined;
  client: ClientView;
  /** `Mcp-Param-*` headers for a modern upstream, values encoded. */
  paramHeaders?: Readonly<Record<string, string>>;
  /** Headers of the client's own request that go on with this one, names in lower case, values checked. */
  extraHeaders?: Readonly<Record<string, string>>;
  /** The least severe log messages that the client wants; absent: what the upstream sends by itself. */
  logLevel?: string;
  /**
   * A task may be made of this `tools/call`, or it is about tasks: the extension is declared to a newer upstream; to an
   * older one `params.task` goes on.
   */
  tasks?: boolean;
  /** The session or connection with an upstream in which the task was made that this is about, as `TaskAnswer` named it. */
  session?: string;
  /** What an older upstream tells of the task that comes of this is wanted after the answer as well. */
  followsTask?: boolean;
  /** What the upstream calls the progress of this request by; only where the client wants any. */
  progressToken?: string;
  /** Aborts when the client is gone; the upstream is told. */
  signal: Gone;
  /** Progress and log messages of this request, in order. A returned promise holds the upstream back. */
  onNotification?(notification: Notification): void | Promise<void>;
  /**
   * Present when the client can be asked something while the call runs; then, and only then, its capabilities are offered
   * to an older upstream, or to a newer one in the name of an older client.
   */
  onRequest?(request: UpstreamRequest): Promise<ClientAnswer>;
}

export type RelayFailure =
  | "upstream_address_refused"
  | "upstream_unreachable"
  | "upstream_timeout"
  | "upstream_protocol"
  | "upstream_too_large"
  | "upstream_refused"
  | "cancelled"
  | "credential_unavailable"
  | "client_refused";

/** In the core of 2025-11-25, or as the extension of 2026-07-28. */
export type TaskForm = "core" | "extension";

/**
 * Only where `RelayCall.tasks` was said. `task`: the result is a task, in this form. `session`: where it was made; one that
 * begins with `@` is a connection of this process. `news`: only where `RelayCall.followsTask` was said, for whoever stops it.
 */
export interface TaskAnswer {
  task?: TaskForm;
  session?: string;
  news?: TaskNews;
}

/** `account`: the label of the account that was used, where it has one. */
export type Relayed = { account?: string } & (
  | ({ outcome: "result"; result: JsonObject } & TaskAnswer)
  | { outcome: "error"; error: { code: number; message: string; data?: Json } }
  | { outcome: "needs_user"; reason: NeedsUserReason | "insufficient_scope" }
  | { outcome: "failed"; code: RelayFailure; retryable: boolean }
);
