import { type JsonObject, type Problem, stringifyJson } from "../base/index.ts";
import type { RelayCall, RelayFailure } from "../relay/index.ts";
import { metaKey } from "../relay/index.ts";
import { isObject } from "./body.ts";
import type { Client } from "./era.ts";
import { code } from "./refusal.ts";

/** What a method comes to, before it is written. `status` is for errors that the revision ties to one. */
export type Reply =
  /** `failure`: the result is ours, a tool's failure. `required`: it says that an account is missing. */
  | { result: JsonObject; headers?: Record<string, string>; failure?: string; required?: JsonObject }
  /** `failed`: why the upstream gave no answer. `problem`: what we could not do ourselves. */
  | {
      error: { code: number; message: string; data?: unknown };
      status?: number;
      failed?: RelayFailure;
      problem?: Problem;
    };

export interface ServerInfo {
  name: string;
  title: string;
  version: string;
}

/** The JSON-RPC message of a reply, as text. */
export function writeReply(id: string | number | null, reply: Reply): string {
  return "result" in reply
    ? stringifyJson({ jsonrpc: "2.0", id, result: reply.result })
    : stringifyJson({ jsonrpc: "2.0", id, error: reply.error });
}

/** A complete result in the words of the client's era, under our own name: an upstream's `serverInfo` stays behind. */
export function complete(client: Client, self: ServerInfo, result: JsonObject): JsonObject {
  if (client.era === "modern") {
    const meta = isObject(result._meta) ? result._meta : undefined;
    return { ...result, resultType: "complete", _meta: { ...meta, [metaKey.serverInfo]: { ...self } } };
  }
  const { resultType: _, ...older } = result;
  if (isObject(older._meta) && older._meta[metaKey.serverInfo] !== undefined) {
    const { [metaKey.serverInfo]: _info, ...meta } = older._meta;
    older._meta = meta;
  }
  if (older.structuredContent !== undefined && !isObject(older.structuredContent)) asText(older);
  return older;
}

/** Before 2026-07-28 structured content is an object. Another value is said as text, unless there is some (SEP-2106). */
function asText(result: JsonObject): void {
  const text = stringifyJson(result.structuredContent);
  delete result.structuredContent;
  const content = Array.isArray(result.content) ? result.content : [];
  if (!content.some((block) => isObject(block) && block.type === "text"))
    result.content = [...content, { type: "text", text }];
}

/** A tool's failure, which the model reads. */
export function toolFailure(client: Client, self: ServerInfo, text: string, meta?: JsonObject): Reply {
  const result: JsonObject = { content: [{ type: "text", text }], isError: true };
  if (meta) result._meta = meta;
  return { result: complete(client, self, result), failure: text };
}

/** The same where there is no tool whose result could fail. */
export function asError(reply: Reply): Reply {
  if ("error" in reply || reply.failure === undefined) return reply;
  const data = reply.required && { code: "mcp_auth_required", mcp_auth_required: reply.required };
  return { error: { code: code.internal, message: reply.failure, ...(data && { data }) } };
}

export type NotificationSink = NonNullable<RelayCall["onNotification"]>;
