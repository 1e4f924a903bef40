import type { AnswerBody, Json, JsonObject, World } from "../base/index.ts";
import type { Attempt } from "./attempt.ts";
import { openStream, readEvents } from "./event-stream.ts";
import { RelayFault } from "./fault.ts";
import { sessionHeaders, tellSession } from "./legacy-session.ts";
import { isObject, type RpcMessage, readCall } from "./message.ts";
import { Pace } from "./pace.ts";
import type { Patience } from "./patience.ts";
import type { LegacySession } from "./sessions.ts";
import { SseReader } from "./sse.ts";
import { StrayMessages } from "./stray-messages.ts";
import { FollowedTasks, type TaskNews } from "./task-news.ts";

type Before = Exclude<RpcMessage, { kind: "result" | "error" }>;
type Call = (message: Before) => void | Promise<void>;

/** How long the first call in a session waits for it; some servers say nothing at all until there is something to say. */
const READY_MS = 300;
/** Characters of one event; a question for a sample may hold an image. */
const MAX_QUESTION = 4 * 1024 * 1024;
/** How long it is kept after the last call. */
const LINGER_MS = 30_000;
/** Tries in a row, while a call goes on. */
const MAX_FAILED = 5;
/** Questions that belong to no call, answered within a minute. */
const MAX_REFUSALS = 60;

/**
 * The standing GET stream of one session with an older upstream. What is asked there names no call, so it goes to the one
 * that is under way; where there is none, or more than one, the upstream gets an error, and so it does in a session that
 * does not belong to one person. Open only while there are calls, or tasks that are followed, and a little longer.
 */
export class SessionStream {
  readonly #world: World;
  #attempt: Attempt;
  /** Everything in the session belongs to one person. */
  readonly #isOwn: boolean;
  readonly #followed = new FollowedTasks();
  readonly #session: LegacySession;
  readonly #released: () => void;
  readonly #calls = new Set<Call>();
  readonly #refusals: StrayMessages;
  readonly #pace: Pace;
  /** Present while it is open, or being opened. */
  #ending: AbortController | undefined;
  #opened: Promise<void> | undefined;
  #isStanding = false;
  /** The upstream has no such stream, or the session is over. */
  #isNone = false;
  #isClosed = false;
  /** It was waited for once in vain. */
  #isSlow = false;
  #lastEventId: string | undefined;
  #linger: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #failed = 0;

  /** `released` is called once, when it is closed for good. */
  constructor(world: World, attempt: Attempt, session: LegacySession, released: () => void) {
    this.#world = world;
    this.#attempt = standing(attempt);
    this.#isOwn = attempt.call.owner !== undefined || attempt.call.onRequest !== undefined;
    this.#session = session;
    this.#released = released;
    const now = () => world.now().getTime();
    this.#refusals = new StrayMessages(now, { messages: MAX_REFUSALS });
    this.#pace = new Pace(world.random);
  }

  /** Whether there is nothing to wait for. */
  get isReady(): boolean {
    return this.#isStanding || this.#isNone;
  }

  /** Opens it if it is not; resolves when it stands or will not soon. Never throws. */
  async ready(patience: Patience): Promise<void> {
    const opened = this.#ending ? this.#opened! : this.#open();
    if (this.#isSlow) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        this.#isSlow = true;
        resolve();
      }, READY_MS);
    });
    await patience.until(Promise.race([opened, late]));
    clearTimeout(timer);
  }

  /** A call is under way: `call` is told of what it may be meant by. Returns how to leave. */
  join(call: Call): () => void {
    this.#calls.add(call);
    clearTimeout(this.#linger);
    return () => {
      this.#calls.delete(call);
      this.#rest();
    };
  }

  /** Whether a task made in this session is followed. */
  get isFollowed(): boolean {
    return this.#followed.size > 0;
  }

  /** Hears of a task that was made in this session; undefined: nothing can be heard. */
  follow(token: string | number, own: string): TaskNews | undefined {
    if (this.#isNone) return undefined;
    const news = this.#followed.add(token, own, (attempt) => this.#renew(attempt));
    clearTimeout(this.#linger);
    news?.whenEnded(() => this.#rest());
    return news;
  }

  /** A renewed credential: the stream is opened anew with it, in the same session. One that is gone ends it. */
  #renew(attempt: Attempt | undefined): boolean {
    if (!attempt) {
      this.close();
      return false;
    }
    if (attempt.credential === this.#attempt.credential) return true;
    this.#attempt = standing(attempt);
    this.#ending?.abort();
    return true;
  }

  get #isWanted(): boolean {
    return this.#calls.size > 0 || this.isFollowed;
  }

  #rest(): void {
    if (this.#isWanted || this.#isClosed) return;
    clearTimeout(this.#retry);
    clearTimeout(this.#linger);
    this.#linger = setTimeout(() => this.#ending?.abort(), LINGER_MS).unref();
  }

  /** Ends it for good. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isNone = true;
    this.#ending?.abort();
    this.#followed.end();
    clearTimeout(this.#linger);
    clearTimeout(this.#retry);
    this.#released();
  }

  #open(): Promise<void> {
    const ending = new AbortController();
    this.#ending = ending;
    const opened = Promise.withResolvers<void>();
    this.#opened = opened.promise;
    this.#stand(ending, opened.resolve)
      .catch((error: unknown) => {
        const { id } = this.#attempt.call.upstream;
        if (error instanceof RelayFault)
          this.#world.log.debug("relay.session_stream_lost", { upstream_id: id, code: error.code });
        else this.#world.log.error("relay.session_stream_failed", { upstream_id: id, error });
      })
      .finally(() => {
        this.#isStanding = false;
        opened.resolve();
        ending.abort();
        if (this.#ending === ending) this.#ending = undefined;
        this.#again();
      });
    return opened.promise;
  }

  async #stand(ending: AbortController, stands: () => void): Promise<void> {
    const { url, tls } = this.#attempt.call.upstream;
    const stream = await openStream(this.#world.outbound, {
      url,
      tls,
      headers: sessionHeaders(this.#attempt, this.#session),
      lastEventId: this.#lastEventId,
      headersTimeoutMs: 0,
      gone: ending.signal,
    });
    if (!stream.body) {
      // 2025-11-25: 405 says that there is none. A status that may pass is tried again with a later call.
      this.#isNone = stream.status < 500 && stream.status !== 429 && stream.status !== 409;
      this.#failed = MAX_FAILED;
      return;
    }
    this.#isStanding = true;
    stands();
    await this.#read(stream.body);
  }

  async #read(body: AnswerBody): Promise<void> {
    const reader = new SseReader(MAX_QUESTION);
    const bound = new StrayMessages(() => this.#world.now().getTime());
    try {
      await readEvents(body, reader, bound, (message) => {
        this.#failed = 0;
        this.#route(message);
      });
    } finally {
      this.#lastEventId = reader.lastEventId ?? this.#lastEventId;
    }
  }

  /** A call that goes on may still be asked something. */
  #again(): void {
    if (this.#isNone || !this.#isWanted || this.#failed >= MAX_FAILED) {
      this.#followed.end();
      this.#failed = 0;
      this.#pace.reset();
      return;
    }
    this.#failed += 1;
    this.#retry = setTimeout(() => {
      if (!this.#isNone && !this.#ending && this.#isWanted) void this.#open();
    }, this.#pace.next()).unref();
  }

  #route(message: Json): void {
    const isCall = isObject(message) && message.jsonrpc === "2.0" && typeof message.method === "string";
    // Answers come on the stream of what they answer.
    if (!isCall) return;
    const read = readCall(message, message.method as string);
    if (read.kind === "request") this.#asked(read);
    else if (this.#followed.take(read.method, read.params)) return;
    else if (read.method === "notifications/cancelled") for (const call of this.#calls) void call(read);
    // Progress names its call: it is the business of whoever knows the id.
    else if (read.method === "notifications/progress") for (const call of this.#calls) void call(read);
    else void this.#only()?.(read);
  }

  #asked(request: Extract<Before, { kind: "request" }>): void {
    const { id, method } = request;
    const call = method === "ping" ? undefined : this.#only();
    if (!call) {
      const error = { code: -32601, message: "Method not found" };
      this.#answer(method === "ping" ? { id, result: {} } : { id, error });
      return;
    }
    try {
      void call(request);
    } catch (error) {
      if (!(error instanceof RelayFault)) throw error;
      this.#answer({ id, error: { code: -32603, message: "Too many questions" } });
    }
  }

  #only(): Call | undefined {
    if (!this.#isOwn || this.#calls.size !== 1) return undefined;
    for (const call of this.#calls) return call;
    return undefined;
  }

  #answer(answer: JsonObject): void {
    if (this.#refusals.add(0)) throw new RelayFault("upstream_too_large");
    void tellSession(this.#world, this.#attempt, this.#session, { jsonrpc: "2.0", ...answer });
  }
}

/** Belongs to the session, not to the call that happens to be made in it. */
function standing(attempt: Attempt): Attempt {
  const { upstream, owner, client, signal } = attempt.call;
  return attempt.with({ upstream, owner, client, signal, method: "", params: undefined });
}
