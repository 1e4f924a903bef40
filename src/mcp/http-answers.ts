import { Problem } from "../base/index.ts";
import type { HeaderReader, PlainAnswer } from "../http/index.ts";
import { modernVersion } from "../relay/index.ts";
import { named } from "./body.ts";
import type { Caller } from "./caller.ts";
import { code, Refusal } from "./refusal.ts";
import { type Reply, writeReply } from "./reply.ts";

/** ID-30: a virtual MCP that this caller may not use looks like none. */
export function refuseUnserved(
  { virtualMcp }: Caller,
  slug: string | undefined,
  id: string | number | undefined,
): void {
  if (slug === undefined || virtualMcp !== undefined) return;
  const text = "There is no MCP server of this name here. Check the address.";
  throw named(new Refusal(code.invalidRequest, text, { status: 404 }), id);
}

/** The session a GET or DELETE is about. 405 without one, and for 2026-07-28, which has neither (protocol section 1.4). */
export function sessionOf(headers: HeaderReader): string {
  const id = headers.get("mcp-session-id");
  if (id !== null && headers.get("mcp-protocol-version")?.trim() !== modernVersion) return id;
  const message =
    "Send JSON-RPC messages with POST; a stream and its end belong to a session of an older client.";
  throw new Problem("method_not_allowed", "method_not_allowed", message, { headers: { allow: "POST" } });
}

export function eventStream(
  body: ReadableStream<Uint8Array> | undefined,
  headers: Record<string, string>,
): Response {
  return new Response(body, {
    headers: { ...headers, "content-type": "text/event-stream", "x-accel-buffering": "no" },
  });
}

export function write(id: string | number, reply: Reply, headers: Record<string, string>): PlainAnswer {
  headers["content-type"] = "application/json";
  if ("result" in reply) Object.assign(headers, reply.headers);
  const status = "error" in reply ? (reply.status ?? 200) : 200;
  return { status, headers, body: writeReply(id, reply) };
}

export function refuse(refusal: Refusal, headers: Record<string, string>): PlainAnswer {
  const { message, data, status } = refusal;
  const error = data === undefined ? { code: refusal.code, message } : { code: refusal.code, message, data };
  headers["content-type"] = "application/json";
  if (refusal.retryAfter !== undefined) headers["retry-after"] = String(refusal.retryAfter);
  return { status, headers, body: writeReply(refusal.id, { error }) };
}

const JSON_ACCEPTED = /(?:^|,)\s*(?:application\/(?:json|\*)|\*\/\*)\s*(?:[;,]|$)/i;
const STREAM_ACCEPTED = /(?:^|,)\s*text\/event-stream\s*(?:[;,]|$)/i;
/** What the SDKs send. */
const USUAL_ACCEPT = "application/json, text/event-stream";

/** Whether the client reads event streams; 406 when it reads nothing of ours. No `Accept` is any (RFC 9110 §12.5.1), as JSON. */
export function acceptsStream(accept: string | null): boolean {
  if (accept === USUAL_ACCEPT) return true;
  if (accept === null) return false;
  const stream = STREAM_ACCEPTED.test(accept);
  if (stream || JSON_ACCEPTED.test(accept)) return stream;
  throw notAcceptable();
}

export function notAcceptable(): Refusal {
  return new Refusal(code.invalidRequest, "Accept application/json and text/event-stream.", { status: 406 });
}
