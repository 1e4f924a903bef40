import {
  type AnswerBody,
  type Gone,
  type Json,
  type Outbound,
  type OutboundAnswer,
  parseStrictJson,
  type Tls,
} from "../base/index.ts";
import { type Attempted, refusal } from "./attempt.ts";
import { mediaType } from "./exchange.ts";
import { RelayFault, relayFault } from "./fault.ts";
import type { SseReader } from "./sse.ts";
import type { StrayMessages } from "./stray-messages.ts";

/** Characters of one event on a stream that tells of changes: many are open, and there is little to say. */
export const MAX_CHANGE = 64 * 1024;

export interface StreamRequest {
  url: URL;
  tls?: Tls;
  headers: Record<string, string>;
  /** Where to take it up again. */
  lastEventId?: string;
  /** How long until the upstream begins to answer; 0: however long. */
  headersTimeoutMs: number;
  gone: Gone;
}

/** `meaning`: what the status says of credential and moment; undefined: there is no such stream. */
export type OpenedStream =
  | { body: AnswerBody }
  | { body?: undefined; status: number; meaning: Attempted | undefined };

/** The standing GET stream of an older upstream over Streamable HTTP, or one that is taken up again. Throws `RelayFault`. */
export async function openStream(outbound: Outbound, request: StreamRequest): Promise<OpenedStream> {
  const headers: Record<string, string> = { ...request.headers, accept: "text/event-stream" };
  delete headers["content-type"];
  // 2025-11-25 "Resumability and Redelivery".
  if (request.lastEventId !== undefined) headers["last-event-id"] = request.lastEventId;
  let answer: OutboundAnswer;
  try {
    answer = await outbound.request(request.url, {
      method: "GET",
      headers,
      signal: request.gone,
      headersTimeoutMs: request.headersTimeoutMs,
      // Nothing may happen on it for long; who does not need it any more ends it.
      bodyTimeoutMs: 0,
      tls: request.tls,
      standing: true,
    });
  } catch (error) {
    throw relayFault(error);
  }
  return judge(answer);
}

/** We accept no compression, so its size is what it seems (UP-20). */
export function isStream({ statusCode, headers }: OutboundAnswer): boolean {
  if (statusCode !== 200 || headers["content-encoding"] !== undefined) return false;
  return mediaType(headers["content-type"]) === "text/event-stream";
}

function judge(answer: OutboundAnswer): OpenedStream {
  const { statusCode: status, headers, body } = answer;
  if (isStream(answer)) return { body };
  body.destroy();
  if (status >= 200 && status <= 299) return { status, meaning: undefined };
  return { status, meaning: refusal({ kind: "refused", status, ours: false, headers }) };
}

/**
 * Reads a stream to its end; `each` is told of every message, one of a batch after another (2025-03-26). Throws
 * `RelayFault` when it breaks, cannot be read, or brings more than `bound` allows.
 */
export async function readEvents(
  body: AnswerBody,
  reader: SseReader,
  bound: StrayMessages,
  each: (message: Json) => void,
): Promise<void> {
  try {
    for await (const chunk of body) {
      let isTooMuch = bound.add(chunk.byteLength);
      for (const data of reader.push(chunk)) {
        const value = parseStrictJson(data);
        for (const message of Array.isArray(value) ? value : [value]) {
          isTooMuch = bound.add(0) || isTooMuch;
          if (isTooMuch) throw new RelayFault("upstream_too_large");
          each(message);
        }
      }
      if (isTooMuch) throw new RelayFault("upstream_too_large");
    }
  } catch (error) {
    body.destroy();
    throw relayFault(error);
  }
}
