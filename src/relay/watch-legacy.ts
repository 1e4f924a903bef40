import { type Gone, type Json, type JsonObject, stringifyJson } from "../base/index.ts";
import type { Attempt, Attempted } from "./attempt.ts";
import { MAX_CHANGE, type OpenedStream, openStream, readEvents } from "./event-stream.ts";
import { post } from "./exchange.ts";
import { RelayFault } from "./fault.ts";
import {
  endSession,
  judgeAnswer,
  NoSession,
  openSession,
  sessionHeaders,
  tellSession,
} from "./legacy-session.ts";
import { isObject, readCall } from "./message.ts";
import { Pace } from "./pace.ts";
import { Patience } from "./patience.ts";
import type { LegacySession } from "./sessions.ts";
import { SseReader } from "./sse.ts";
import { StrayMessages } from "./stray-messages.ts";
import type { End, Hearing } from "./watch-feed.ts";
import type { ListenParts } from "./watch-modern.ts";
import { isNothing, offeredOf } from "./watch-wanted.ts";

/** How long the first look at the stream may hold up subscriptions; some servers say nothing until there is something to say. */
const OPENING_MS = 5_000;
/** Tries in a row to open the stream of a session again, before another session is tried. */
const MAX_FAILED = 3;
/** A stream that stood this long was one. */
const USEFUL_MS = 10_000;
/** Requests of the upstream, all refused but `ping`, within a minute. */
const MAX_REQUESTS = 60;

/**
 * Listens to an upstream of 2025-11-25 and before, over Streamable HTTP: a session of its own, its GET stream, and
 * subscriptions made in it. Ends the session with it. Throws `RelayFault` when it breaks.
 */
export async function watchSession(
  parts: ListenParts,
  attempt: Attempt,
  hearing: Hearing,
  gone: Gone,
): Promise<End> {
  let session: LegacySession;
  try {
    session = await openSession(parts.world, parts.self, attempt, parts.nextId());
  } catch (error) {
    if (error instanceof NoSession) return endOf(error.attempted);
    throw error;
  }
  const watch = new SessionWatch(parts, attempt, session, hearing, gone);
  try {
    return await watch.run();
  } finally {
    hearing.changed = undefined;
    await endSession(parts.world, attempt, session);
  }
}

function endOf(attempted: Attempted): End {
  switch (attempted.outcome) {
    case "rejected":
      return { why: "rejected", wants: attempted.wants };
    case "other_era":
      return { why: "other_era" };
    case "failed":
      throw new RelayFault(attempted.code, { retryable: attempted.retryable });
    case "result":
    case "error":
      throw new RelayFault("upstream_refused");
  }
}

class SessionWatch {
  readonly #parts: ListenParts;
  readonly #attempt: Attempt;
  readonly #session: LegacySession;
  readonly #hearing: Hearing;
  readonly #gone: Gone;
  readonly #bound: StrayMessages;
  readonly #requests: StrayMessages;
  readonly #pace: Pace;
  readonly #over = Promise.withResolvers<End>();
  /** What the upstream was asked to follow. */
  #followed = new Set<string>();
  /** Changes are made one after another. */
  #settling: Promise<void> = Promise.resolve();
  #lastEventId: string | undefined;
  #retryMs: number | undefined;

  constructor(parts: ListenParts, attempt: Attempt, session: LegacySession, hearing: Hearing, gone: Gone) {
    this.#parts = parts;
    this.#attempt = attempt;
    this.#session = session;
    this.#hearing = hearing;
    this.#gone = gone;
    const now = () => this.#now();
    this.#bound = new StrayMessages(now);
    this.#requests = new StrayMessages(now, { messages: MAX_REQUESTS });
    this.#pace = new Pace(parts.world.random, parts.firstPauseMs);
    // Whoever waits for it hears of it; there may be nobody any more.
    this.#over.promise.catch(() => {});
  }

  async run(): Promise<End> {
    if (isNothing(this.#offered())) return { why: "not_offered" };
    const leave = () => this.#over.resolve({ why: "ended" });
    this.#gone.addEventListener("abort", leave);
    if (this.#gone.aborted) leave();
    try {
      const opening = this.#open();
      this.#listen(opening).catch((error: unknown) => this.#over.reject(error));
      const looked = opening.then(nothing, nothing);
      const refused = await Promise.race([this.#over.promise, looked, after(OPENING_MS)]);
      if (refused) return refused;
      this.#hearing.changed = () => this.#change();
      this.#change();
      const lost = await Promise.race([this.#over.promise, this.#settling.then(nothing)]);
      if (lost) return lost;
      this.#hearing.stands();
      return await this.#over.promise;
    } finally {
      this.#gone.removeEventListener("abort", leave);
    }
  }

  #offered() {
    return offeredOf(this.#hearing.wanted, this.#session.capabilities ?? {});
  }

  #open(): Promise<OpenedStream> {
    const { url, tls } = this.#attempt.call.upstream;
    return openStream(this.#parts.world.outbound, {
      url,
      tls,
      headers: sessionHeaders(this.#attempt, this.#session),
      lastEventId: this.#lastEventId,
      headersTimeoutMs: 0,
      gone: this.#gone,
    });
  }

  /** Reads the stream, and opens it again where it ends, in the same session. Settles `#over`. */
  async #listen(opening: Promise<OpenedStream>): Promise<void> {
    let isFirst = true;
    for (let failed = 0; !this.#gone.aborted; ) {
      const stream = await opened(opening);
      if (stream && !stream.body) {
        if (stream.meaning?.outcome === "rejected") return this.#over.resolve(endOf(stream.meaning));
        // 405, or whatever else says that there is no such stream: what is subscribed to stays so.
        if (isFirst && stream.meaning === undefined) return;
        // It was there before: the upstream does not know the session any more.
        if (stream.meaning === undefined) return this.#over.resolve({ why: "ended" });
      }
      if (stream?.body) {
        isFirst = false;
        failed = (await this.#read(stream.body)) ? 0 : failed + 1;
      } else failed += 1;
      if (failed >= MAX_FAILED) throw new RelayFault("upstream_unreachable");
      if (failed === 0) this.#pace.reset();
      await after(this.#pace.next(this.#retryMs), this.#gone);
      opening = this.#open();
    }
  }

  /** False when it was of no use. Throws `RelayFault` for what is not to be borne; an end is none. */
  async #read(body: NonNullable<OpenedStream["body"]>): Promise<boolean> {
    const reader = new SseReader(MAX_CHANGE);
    const since = this.#now();
    let heard = false;
    try {
      await readEvents(body, reader, this.#bound, (message) => {
        heard = true;
        this.#take(message);
      });
    } catch (error) {
      if (!(error instanceof RelayFault) || error.code !== "upstream_unreachable") throw error;
    }
    // A priming event counts too, and so does having stood: proxies end what is silent.
    heard ||= reader.lastEventId !== undefined && reader.lastEventId !== this.#lastEventId;
    heard ||= this.#now() - since >= USEFUL_MS;
    this.#lastEventId = reader.lastEventId ?? this.#lastEventId;
    this.#retryMs = reader.retryMs ?? this.#retryMs;
    return heard;
  }

  #now(): number {
    return this.#parts.world.now().getTime();
  }

  #take(message: Json): void {
    if (!isObject(message) || message.jsonrpc !== "2.0" || typeof message.method !== "string") return;
    const read = readCall(message, message.method);
    if (read.kind === "notification") {
      this.#hearing.heard(read.method, read.params ?? {});
      return;
    }
    if (this.#requests.add(0)) throw new RelayFault("upstream_too_large");
    // Nobody is behind this session to be asked.
    const { id, method } = read;
    const error = { code: -32601, message: "Method not found" };
    const answer: JsonObject = method === "ping" ? { id, result: {} } : { id, error };
    void tellSession(this.#parts.world, this.#attempt, this.#session, { jsonrpc: "2.0", ...answer });
  }

  #change(): void {
    this.#settling = this.#settling
      .then(() => this.#settle())
      .catch((error: unknown) => this.#over.reject(error));
  }

  async #settle(): Promise<void> {
    const wanted = new Set(this.#offered().resourceSubscriptions);
    for (const uri of this.#followed) {
      if (wanted.has(uri)) continue;
      await this.#ask("resources/unsubscribe", uri);
      this.#followed.delete(uri);
    }
    for (const uri of wanted) {
      if (this.#gone.aborted) return;
      if (this.#followed.has(uri)) continue;
      await this.#ask("resources/subscribe", uri);
      this.#followed.add(uri);
    }
  }

  /** What the upstream refuses is not followed, and that is all. */
  async #ask(method: string, uri: string): Promise<void> {
    const { world, nextId } = this.#parts;
    const { upstream } = this.#attempt.call;
    const id = nextId();
    const patience = new Patience(this.#gone, upstream.timeoutMs);
    const params: JsonObject = { uri };
    try {
      const answer = await post(world.outbound, {
        url: upstream.url,
        tls: upstream.tls,
        headers: sessionHeaders(this.#attempt, this.#session),
        body: stringifyJson({ jsonrpc: "2.0", id, method, params }),
        id,
        patience,
      });
      const attempted = judgeAnswer(answer, this.#session);
      if (attempted === "session_lost") this.#over.resolve({ why: "ended" });
      else if (attempted.outcome !== "result" && attempted.outcome !== "error")
        this.#over.resolve(endOf(attempted));
    } finally {
      patience.stop();
    }
  }
}

const nothing = () => undefined;

/** Undefined: it could not be opened now. */
async function opened(opening: Promise<OpenedStream>): Promise<OpenedStream | undefined> {
  try {
    return await opening;
  } catch (error) {
    if (error instanceof RelayFault && error.code === "upstream_unreachable") return undefined;
    throw error;
  }
}

function after(ms: number, gone?: Gone): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms).unref();
    function done() {
      clearTimeout(timer);
      gone?.removeEventListener("abort", done);
      resolve();
    }
    gone?.addEventListener("abort", done);
  });
}
