import type { Gone, JsonObject } from "../base/index.ts";
import type { HeaderReader } from "../http/index.ts";
import type { ClientAnswer, UpstreamRequest } from "../relay/index.ts";
import type { Caller } from "./caller.ts";
import type { Target } from "./catalog.ts";
import { type Client, digestOf } from "./era.ts";
import type { NotificationSink } from "./reply.ts";

/** One `tools/call` of a proved caller. */
export interface ToolCall {
  caller: Caller;
  client: Client;
  params: JsonObject;
  headers: HeaderReader;
  signal: Gone;
  requestId: string;
  onNotification?: NotificationSink;
  /** Puts a question of the upstream to the client; absent when it cannot be asked. */
  ask?(request: UpstreamRequest): Promise<ClientAnswer>;
  /** What the client answered to a newer upstream's questions, to go with the repeated call. */
  answered?: { inputResponses?: JsonObject; requestState?: string; rounds: number };
  /** Digest of the call that this one came in, where that was `call_tool`. */
  outer?: string;
}

/** What a `requestState` is bound to: the call as its client sent it. */
export function digestFor({ outer }: ToolCall, { name }: Target, args: JsonObject | undefined): string {
  return outer ?? digestOf(name, args);
}
