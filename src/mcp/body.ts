import { JsonFault, type JsonObject, Problem, parseStrictJson } from "../base/index.ts";
import type { Inbound } from "../http/index.ts";
import type { ClientAnswer } from "../relay/index.ts";
import { code, Refusal } from "./refusal.ts";

const MAX_BODY = 4 * 1024 * 1024;
const JSON_TYPE = /^application\/json[ \t]*(?:;[ \t]*charset="?utf-8"?[ \t]*)?$/i;

/** One JSON-RPC message of a client. */
export interface Message {
  method: string;
  /** Absent: a notification. */
  id?: string | number;
  params?: JsonObject;
}

/** A client's answer to a request of ours (revisions before 2026-07-28). */
export interface Answer {
  method?: undefined;
  id: string | number;
  answer: ClientAnswer;
}

/** Several messages in one body, each still to be read by `toMessage` (2025-03-26). */
export interface Batch {
  method?: undefined;
  id?: undefined;
  entries: readonly unknown[];
}

/** Reads and checks the body: type 415, size 413, then strict JSON and JSON-RPC as a `Refusal`. */
export function readMessage(inbound: Inbound): Promise<Message | Answer | Batch> {
  const type = inbound.headers.get("content-type");
  if (type !== "application/json" && !JSON_TYPE.test(type ?? "")) {
    throw new Problem(
      "unsupported_type",
      "unsupported_media_type",
      "Send the body as application/json in UTF-8.",
    );
  }
  return inbound.bytes(MAX_BODY).then(messageOf);
}

function messageOf(bytes: Uint8Array): Message | Answer | Batch {
  const value = parse(bytes);
  if (isObject(value)) return toMessage(value);
  if (Array.isArray(value)) return { entries: value };
  throw oneMessage();
}

function parse(bytes: Uint8Array) {
  try {
    return parseStrictJson(bytes, { maxBytes: MAX_BODY });
  } catch (error) {
    if (error instanceof JsonFault) throw new Refusal(code.parse, error.message);
    throw error;
  }
}

/** Throws `Refusal`, with the message's id as far as it could be read. */
export function toMessage(value: JsonObject): Message | Answer {
  const { jsonrpc, method, id, params } = value;
  if (method === undefined) {
    const answer = toAnswer(value);
    if (answer) return answer;
  }
  if (jsonrpc !== "2.0" || typeof method !== "string") {
    throw new Refusal(
      code.invalidRequest,
      'Send a JSON-RPC 2.0 request or notification ("jsonrpc" and "method").',
    );
  }
  if (id !== undefined && typeof id !== "string" && !Number.isSafeInteger(id)) {
    throw new Refusal(code.invalidRequest, 'The "id" must be a string or an integer.');
  }
  if (params !== undefined && !isObject(params)) {
    throw named(new Refusal(code.invalidRequest, 'The "params" must be an object.'), id as string | number);
  }
  return { method, id: id as string | number | undefined, params };
}

/** MC-05: what is told to all but clients of 2025-03-26, which alone has batches. */
export function oneMessage(): Refusal {
  return new Refusal(code.invalidRequest, "Send one JSON-RPC message per request.");
}

/** JSON-RPC 2.0 §5: an id and either `result` or `error`. */
function toAnswer({ jsonrpc, id, result, error }: JsonObject): Answer | undefined {
  if (jsonrpc !== "2.0" || (typeof id !== "string" && typeof id !== "number")) return undefined;
  if (isObject(result) && error === undefined) return { id, answer: { result } };
  if (result !== undefined || !isObject(error)) return undefined;
  const { code: number, message, data } = error;
  if (!Number.isSafeInteger(number) || typeof message !== "string") return undefined;
  const told = { code: number as number, message };
  return { id, answer: { error: data === undefined ? told : { ...told, data } } };
}

/** A refusal that already knows which request it answers. */
export function named(refusal: Refusal, id: string | number | undefined): Refusal {
  refusal.id = id ?? null;
  return refusal;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !("rawJSON" in value);
}
