import {
  type AnswerBody,
  JsonFault,
  type JsonObject,
  type Outbound,
  type OutboundAnswer,
  OutboundError,
  parseStrictJson,
  type Tls,
} from "../base/index.ts";
import { RelayFault, relayFault } from "./fault.ts";
import { isObject, type RpcError, type RpcMessage, readError, readMessage } from "./message.ts";
import type { Patience } from "./patience.ts";
import { SseReader } from "./sse.ts";

/** Bytes of one answer, and of one event. A tool's result may hold images. */
export const MAX_ANSWER = 16 * 1024 * 1024;
const MAX_STREAM = 64 * 1024 * 1024;
const MAX_MESSAGES = 10_000;
const MAX_REFUSAL = 64 * 1024;
const WHOLE = { maxBytes: MAX_ANSWER };

export interface Post {
  url: URL;
  tls?: Tls;
  headers: Record<string, string>;
  body: string;
  /** The JSON-RPC id of a request; absent for a notification or an answer. */
  id?: number;
  /** Keeps the time. */
  patience: Patience;
  /** What comes before the answer on a stream. A returned promise stops reading until it settles. */
  onMessage?(message: Exclude<RpcMessage, { kind: "result" | "error" }>): void | Promise<void>;
  /** Reads an answer that comes as a stream, where that is not `readStream`. */
  stream?(body: AnswerBody): Promise<RpcAnswer>;
}

type RpcAnswer = Extract<RpcMessage, { kind: "result" | "error" }>;

type HeaderBag = OutboundAnswer["headers"];

export type Answered =
  | { kind: "result"; result: JsonObject; headers: HeaderBag }
  | { kind: "error"; error: RpcError; headers: HeaderBag }
  /** A notification was taken. */
  | { kind: "accepted"; headers: HeaderBag }
  /** Not 2xx. `error` is the JSON-RPC error of the body, if there is one; `ours`: it names our request's id. */
  | { kind: "refused"; status: number; error?: RpcError; ours: boolean; headers: HeaderBag };

/** Sends one JSON-RPC message and reads what comes back, as JSON or as SSE. Throws `RelayFault`. */
export async function post(outbound: Outbound, request: Post): Promise<Answered> {
  if (request.patience.ended) throw request.patience.ended;
  try {
    const response = await outbound.request(request.url, {
      method: "POST",
      headers: request.headers,
      body: request.body,
      signal: request.patience,
      // Patience keeps the time; two more timers would cost every call something and add nothing.
      headersTimeoutMs: 0,
      bodyTimeoutMs: 0,
      tls: request.tls,
    });
    const answered = read(response, request);
    return answered instanceof Promise ? await answered : answered;
  } catch (error) {
    throw request.patience.ended ?? relayFault(error);
  }
}

function read(response: OutboundAnswer, request: Post): Answered | Promise<Answered> {
  const { statusCode, headers, body } = response;
  if (statusCode < 200 || statusCode > 299) return readRefusal(response, request.id);
  if (request.id === undefined) {
    body.discard(LITTLE);
    return { kind: "accepted", headers };
  }
  const encoding = headers["content-encoding"];
  // We accept no compression, so its size is what it seems (UP-20).
  if (encoding !== undefined && encoding !== "identity") return abandon(body, "upstream_protocol");
  const type = mediaType(headers["content-type"]);
  if (type === "text/event-stream") {
    const answer = request.stream ? request.stream(body) : readStream(body, request, request.id);
    // Destroying ends the connection: nothing that still comes can be taken for another answer.
    answer.catch(() => body.destroy());
    return answer.then((message) => ({ ...message, headers }));
  }
  if (type !== "application/json") return abandon(body, "upstream_protocol");
  const { id } = request;
  const bytes = readBytes(body, headers["content-length"], MAX_ANSWER);
  return bytes instanceof Promise
    ? bytes.then((whole) => readWhole(whole, id, headers))
    : readWhole(bytes, id, headers);
}

function readWhole(bytes: Uint8Array, id: number, headers: HeaderBag): Answered {
  const message = readMessage(parseStrictJson(bytes, WHOLE), id);
  switch (message.kind) {
    case "result":
      return { kind: "result", result: message.result, headers };
    case "error":
      return { kind: "error", error: message.error, headers };
    default:
      throw new RelayFault("upstream_protocol");
  }
}

export function mediaType(header: string | string[] | undefined): string {
  if (header === "application/json" || header === "text/event-stream") return header;
  return typeof header === "string" ? header.split(";", 1)[0]!.trim().toLowerCase() : "";
}

function abandon(body: AnswerBody, code: "upstream_protocol" | "upstream_too_large"): never {
  body.destroy();
  throw new RelayFault(code);
}

function readBytes(
  body: AnswerBody,
  length: string | undefined,
  max: number,
): Uint8Array | Promise<Uint8Array> {
  return Number(length) > max ? abandon(body, "upstream_too_large") : body.bytes(max);
}

/** The stream of an answer ended before the answer. */
export class CutOff extends RelayFault {
  constructor() {
    super("upstream_protocol");
  }
}

/** The answer to the request `id`, and what comes before it. Throws `RelayFault`, `CutOff` when it ends without. */
export async function readStream(
  body: AnswerBody,
  request: Post,
  id: number,
  reader: SseReader = new SseReader(MAX_ANSWER),
): Promise<RpcAnswer> {
  let size = 0;
  let messages = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > MAX_STREAM) throw new RelayFault("upstream_too_large");
    for (const data of reader.push(chunk)) {
      messages += 1;
      if (messages > MAX_MESSAGES) throw new RelayFault("upstream_too_large");
      const message = readMessage(parseStrictJson(data, { maxBytes: MAX_ANSWER }), id);
      if (message.kind === "result" || message.kind === "error") {
        body.discard(LITTLE);
        return message;
      }
      request.patience.renew();
      const taken = request.onMessage?.(message);
      if (taken !== undefined) await request.patience.until(taken);
      if (request.patience.ended) throw request.patience.ended;
    }
  }
  // 2026-07-28: a broken stream loses the request. It is not sent again: the call may have had effects (AV-16).
  throw new CutOff();
}

/** What may follow an answer; who does not stop talking loses the connection. */
const LITTLE = { bytes: 64 * 1024, ms: 1_000 };

/** What a status that is not 2xx says. */
export async function readRefusal(response: OutboundAnswer, id: number | undefined): Promise<Answered> {
  const { statusCode: status, headers, body } = response;
  const plain: Answered = { kind: "refused", status, ours: false, headers };
  if (
    mediaType(headers["content-type"]) !== "application/json" ||
    headers["content-encoding"] !== undefined
  ) {
    body.discard(LITTLE);
    return plain;
  }
  try {
    const value = parseStrictJson(await readBytes(body, headers["content-length"], MAX_REFUSAL));
    if (!isObject(value) || value.jsonrpc !== "2.0") return plain;
    return { ...plain, error: readError(value), ours: id !== undefined && value.id === id };
  } catch (error) {
    // What a refusal says is a hint, no more; that it is one stands.
    const poor = error instanceof RelayFault || error instanceof JsonFault || error instanceof OutboundError;
    if (poor) return plain;
    throw error;
  }
}
