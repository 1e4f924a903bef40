import {
  type Gone,
  type Json,
  type JsonObject,
  type OutboundAnswer,
  parseStrictJson,
  type World,
} from "../base/index.ts";
import type { Attempt } from "./attempt.ts";
import type { RelayCall } from "./call.ts";
import { isStream, MAX_CHANGE, readEvents } from "./event-stream.ts";
import { type Answered, mediaType, readRefusal } from "./exchange.ts";
import { RelayFault, relayFault } from "./fault.ts";
import { isObject, readMessage } from "./message.ts";
import { judge } from "./modern.ts";
import { type Implementation, modernBody, modernHeaders } from "./request.ts";
import { metaKey } from "./revisions.ts";
import { SseReader } from "./sse.ts";
import { StrayMessages } from "./stray-messages.ts";
import type { End, Hearing } from "./watch-feed.ts";
import { isNothing, type WatchWanted } from "./watch-wanted.ts";

/** Characters of an event about a task: it carries the result. */
const MAX_TASK = 4 * 1024 * 1024;

export interface ListenParts {
  world: World;
  self: Implementation;
  nextId(): number;
  /** Milliseconds of the first pause; a test has no time. */
  firstPauseMs?: number;
}

/**
 * `subscriptions/listen` at an upstream of 2026-07-28, over HTTP, until it is over. A changed wish is a new stream; the one
 * before ends when that one is acknowledged, so that nothing is missed. Throws `RelayFault` when it breaks.
 */
export function listen(parts: ListenParts, attempt: Attempt, hearing: Hearing, gone: Gone): Promise<End> {
  return new Promise((resolve, reject) => {
    let standing: AbortController | undefined;
    let opening: AbortController | undefined;
    const leave = () => {
      opening?.abort();
      standing?.abort();
      resolve({ why: "ended" });
    };
    const open = () => {
      opening?.abort();
      const own = new AbortController();
      opening = own;
      const acknowledged = () => {
        if (opening !== own) return;
        standing?.abort();
        standing = own;
        opening = undefined;
        hearing.stands();
      };
      const isCurrent = () => own === opening || own === standing;
      const finish = (settle: () => void) => {
        if (!isCurrent()) return;
        gone.removeEventListener("abort", leave);
        hearing.changed = undefined;
        settle();
        leave();
      };
      listenOnce(parts, attempt, hearing, own.signal, acknowledged).then(
        (end) => finish(() => resolve(end)),
        (error: unknown) => finish(() => reject(error)),
      );
    };
    hearing.changed = open;
    gone.addEventListener("abort", leave);
    if (gone.aborted) leave();
    else open();
  });
}

async function listenOnce(
  { world, self, nextId }: ListenParts,
  attempt: Attempt,
  hearing: Hearing,
  gone: AbortSignal,
  acknowledged: () => void,
): Promise<End> {
  const { url, tls, timeoutMs } = attempt.call.upstream;
  const id = nextId();
  const call = listenCall(attempt.call, hearing.wanted);
  const headers = modernHeaders(call);
  attempt.authorize(headers);
  const body = modernBody(call, id, self);
  try {
    const answer = await world.outbound.request(url, {
      method: "POST",
      headers,
      body,
      signal: gone,
      headersTimeoutMs: timeoutMs,
      bodyTimeoutMs: 0,
      tls,
      standing: true,
    });
    // The acknowledgement repeats what was asked for.
    const isOfTasks = (hearing.wanted.taskIds ?? []).length > 0;
    const maxEvent = (isOfTasks ? MAX_TASK : MAX_CHANGE) + 2 * body.length;
    const bound = new StrayMessages(() => world.now().getTime());
    return await stay(answer, { id, hearing, timeoutMs, maxEvent, bound, acknowledged });
  } catch (error) {
    throw relayFault(error);
  }
}

interface Listening {
  id: number;
  hearing: Hearing;
  timeoutMs: number;
  maxEvent: number;
  bound: StrayMessages;
  acknowledged(): void;
}

async function stay(answer: OutboundAnswer, listening: Listening): Promise<End> {
  const { id, hearing, timeoutMs, maxEvent, bound } = listening;
  const { body } = answer;
  let isLate = false;
  const late = setTimeout(() => {
    isLate = true;
    body.destroy();
  }, timeoutMs).unref();
  const events = new ListenEvents(id, hearing, () => {
    clearTimeout(late);
    listening.acknowledged();
  });
  try {
    if (!isStream(answer)) return endOf(judge(await readPlain(answer, id)));
    await readEvents(body, new SseReader(maxEvent), bound, (message) => {
      events.take(message);
      // What comes after the end is nobody's.
      if (events.end) body.destroy();
    });
    return events.end ?? { why: "ended" };
  } catch (error) {
    if (events.end) return events.end;
    throw isLate ? new RelayFault("upstream_timeout") : error;
  } finally {
    clearTimeout(late);
  }
}

async function readPlain(answer: OutboundAnswer, id: number): Promise<Answered> {
  const { statusCode, headers, body } = answer;
  if (statusCode < 200 || statusCode > 299) return readRefusal(answer, id);
  if (mediaType(headers["content-type"]) !== "application/json") {
    body.destroy();
    throw new RelayFault("upstream_protocol");
  }
  const message = readMessage(parseStrictJson(await body.bytes(MAX_CHANGE)), id);
  if (message.kind === "result" || message.kind === "error") return { ...message, headers };
  throw new RelayFault("upstream_protocol");
}

/** The request that a listening connection begins with. */
export function listenCall(call: RelayCall, wanted: WatchWanted): RelayCall {
  const { upstream, owner, client, signal } = call;
  const notifications: JsonObject = {};
  for (const kind of ["toolsListChanged", "promptsListChanged", "resourcesListChanged"] as const)
    if (wanted[kind]) notifications[kind] = true;
  const uris = wanted.resourceSubscriptions ?? [];
  if (uris.length > 0) notifications.resourceSubscriptions = [...uris];
  const params = { notifications };
  const listening = { upstream, owner, client, signal, method: "subscriptions/listen", params };
  const ids = wanted.taskIds ?? [];
  if (ids.length === 0) return listening;
  notifications.taskIds = [...ids];
  // Tasks extension: who asks for this declares it.
  return { ...listening, tasks: true };
}

function endOf(attempted: ReturnType<typeof judge>): End {
  switch (attempted.outcome) {
    case "rejected":
      return { why: "rejected", wants: attempted.wants };
    case "other_era":
      return { why: "other_era" };
    case "result":
      return { why: "not_offered" };
    case "error":
      // "Method not found" stays so; "limit reached" may pass.
      if (attempted.error.code === -32601) return { why: "not_offered" };
      throw new RelayFault("upstream_refused");
    case "failed":
      throw new RelayFault(attempted.code, { retryable: attempted.retryable });
  }
}

/** What comes for one `subscriptions/listen`, on whatever connection (2026-07-28 "Subscriptions"). */
export class ListenEvents {
  /** Present when it is over. */
  end: End | undefined;
  readonly #id: number;
  readonly #hearing: Hearing;
  readonly #acknowledged: () => void;
  #honoured: WatchWanted | undefined;

  constructor(id: number, hearing: Hearing, acknowledged: () => void) {
    this.#id = id;
    this.#hearing = hearing;
    this.#acknowledged = acknowledged;
  }

  /** Throws `RelayFault` for what no server may send. */
  take(message: Json): void {
    if (this.end) return;
    const read = readMessage(message, this.#id);
    switch (read.kind) {
      case "request":
        // 2026-07-28: "server MUST NOT send requests".
        throw new RelayFault("upstream_protocol");
      case "error":
        if (read.error.code !== -32601) throw new RelayFault("upstream_refused");
        this.end = { why: "not_offered" };
        return;
      case "result":
        this.end = { why: this.#honoured && !isNothing(this.#honoured) ? "ended" : "not_offered" };
        return;
      case "notification":
        this.#notified(read.method, read.params ?? {});
    }
  }

  #notified(method: string, params: JsonObject): void {
    const { _meta, ...rest } = params;
    const { [metaKey.subscriptionId]: subscription, ...meta } = isObject(_meta) ? _meta : {};
    if (subscription !== undefined && subscription !== this.#id) return;
    if (method === "notifications/subscriptions/acknowledged") {
      if (this.#honoured) return;
      this.#honoured = (isObject(params.notifications) ? params.notifications : {}) as WatchWanted;
      if (isNothing(this.#honoured)) this.end = { why: "not_offered" };
      else this.#acknowledged();
    } else if (this.#honoured) {
      this.#hearing.heard(method, Object.keys(meta).length > 0 ? { ...rest, _meta: meta } : rest);
    }
  }
}
