import type { AnswerBody, Outbound } from "../base/index.ts";
import { openStream } from "./event-stream.ts";
import { CutOff, MAX_ANSWER, type Post, readStream } from "./exchange.ts";
import { RelayFault, relayFault } from "./fault.ts";
import { isObject, type RpcMessage } from "./message.ts";
import type { Patience } from "./patience.ts";
import { SseReader } from "./sse.ts";

type RpcAnswer = Extract<RpcMessage, { kind: "result" | "error" }>;

/** How often one answer is taken up again, and how often in a row that may fail. */
const MAX_RESUMED = 100;
const MAX_FAILED = 3;
const USUAL_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;

/**
 * Reads the answer of an older upstream that may end its stream before the answer and go on in another (SEP-1699), or whose
 * connection broke: after an event with an id the rest is fetched with `Last-Event-ID`. The request itself is not sent
 * again. It takes no longer than the patience of the call. Throws `RelayFault`.
 */
export async function readResumable(
  outbound: Outbound,
  request: Post,
  id: number,
  first: AnswerBody,
  headers: () => Record<string, string>,
): Promise<RpcAnswer> {
  let body = first;
  let from: Place = {};
  for (let resumed = 0; ; resumed++) {
    const reader = resumed === 0 ? new SseReader(MAX_ANSWER) : new ResumedReader(id);
    try {
      return await readStream(body, request, id, reader);
    } catch (error) {
      body.destroy();
      if (request.patience.ended) throw request.patience.ended;
      from = { id: reader.lastEventId ?? from.id, retryMs: reader.retryMs ?? from.retryMs };
      if (!isCutOff(error) || from.id === undefined || resumed >= MAX_RESUMED) throw error;
    }
    body = await reopen(outbound, request, from, headers);
  }
}

/** Servers that keep one store for all their streams send what belongs to other requests along; that is not ours. */
class ResumedReader extends SseReader {
  readonly #id: number;

  constructor(id: number) {
    super(MAX_ANSWER);
    this.#id = id;
  }

  override push(chunk: Uint8Array): string[] {
    return super.push(chunk).filter((data) => !this.#isForeign(data));
  }

  /** What cannot be read is left to the strict reader. */
  #isForeign(data: string): boolean {
    try {
      const message: unknown = JSON.parse(data);
      return isObject(message) && message.method === undefined && message.id !== this.#id;
    } catch {
      return false;
    }
  }
}

interface Place {
  id?: string;
  retryMs?: number;
}

async function reopen(
  outbound: Outbound,
  request: Post,
  { id, retryMs = USUAL_PAUSE_MS }: Place,
  headers: () => Record<string, string>,
): Promise<AnswerBody> {
  const { url, tls, patience } = request;
  for (let failed = 0; ; failed++) {
    // 2025-11-25: "the client MUST respect the `retry` field".
    await pause(Math.min(retryMs, LONGEST_PAUSE_MS), patience);
    try {
      const opened = await openStream(outbound, {
        url,
        tls,
        headers: headers(),
        lastEventId: id,
        headersTimeoutMs: 0,
        gone: patience,
      });
      if (opened.body) return opened.body;
      // The upstream says that there is nothing to take up; only a bad moment may pass.
      if (opened.status < 500 && opened.status !== 429) throw new RelayFault("upstream_protocol");
    } catch (error) {
      if (patience.ended) throw patience.ended;
      if (!isCutOff(error)) throw error;
    }
    if (failed + 1 >= MAX_FAILED) throw new RelayFault("upstream_unreachable");
  }
}

/** Whether the rest may still be there to be fetched. */
function isCutOff(error: unknown): boolean {
  if (error instanceof CutOff) return true;
  const known = relayFault(error);
  return known instanceof RelayFault && known.code === "upstream_unreachable";
}

async function pause(ms: number, patience: Patience): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await patience.until(
    new Promise((resolve) => {
      timer = setTimeout(resolve, ms);
    }),
  );
  clearTimeout(timer);
  if (patience.ended) throw patience.ended;
}
