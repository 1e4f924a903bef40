import { type Json, JsonFault, type JsonObject, parseStrictJson, stringifyJson } from "../base/index.ts";
import type { Attempt, Attempted } from "./attempt.ts";
import { Bystanders } from "./bystanders.ts";
import { deliver } from "./deliver.ts";
import { RelayFault } from "./fault.ts";
import { askNobody } from "./list-features.ts";
import { idIn, isObject, type RpcMessage, readMessage } from "./message.ts";
import { Patience } from "./patience.ts";
import { StrayMessages } from "./stray-messages.ts";
import { FollowedTasks, type TaskNews, taskIn } from "./task-news.ts";
import { UpstreamAsks } from "./upstream-asks.ts";

export type Era = "modern" | "legacy";
/** `news`: of the task that the result is, where that is followed. */
export type Answer = Extract<RpcMessage, { kind: "result" | "error" }> & { news?: TaskNews };
type Call = Extract<RpcMessage, { kind: "notification" | "request" }>;
type Note = Extract<RpcMessage, { kind: "notification" }>;

/** What carries the messages of a channel: a program's pipes, or an event stream and the posts that go with it. */
export interface Line {
  /**
   * Resolves when the other side has the message. Throws `NotTaken` when it certainly did nothing with it, else
   * `RelayFault`. `attempt`: whose message it is.
   */
  send(message: string, attempt: Attempt, patience: Patience): Promise<void>;
  /** Ends it, without waiting. */
  close(): void;
}

/** The upstream refused a message without acting on it. `lost`: it does not know the connection any more. */
export class NotTaken extends Error {
  readonly attempted: Attempted | "lost";

  constructor(attempted: Attempted | "lost") {
    super("not taken");
    this.name = "NotTaken";
    this.attempted = attempted;
  }
}

/** One request on a channel. `silent`: nothing of it goes to a client, and it is not cancelled when we give it up. */
export interface Question {
  id: number;
  body: string;
  attempt: Attempt;
  patience: Patience;
  silent?: boolean;
}

interface Waiting extends Question {
  messages: number;
  /** Notifications on their way to the client, and when the last of them is there. */
  queued: number;
  delivered: Promise<void> | undefined;
  /** Made with the first request of the upstream: few ask. */
  asks: UpstreamAsks | undefined;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

export interface ChannelOptions {
  /** Numbers requests, unique among everything we send. */
  nextId(): number;
  now(): number;
  /**
   * Whether everything on it belongs to one owner. What names no request goes to the one call that waits; where many share
   * the connection, only when it can be about nobody else's.
   */
  isOwn: boolean;
}

/** Told of what belongs to no call; true: it was for this one. */
export type Overhearing = (message: JsonObject) => boolean;

/** Bytes of one message. A tool's result may hold images. */
export const MAX_MESSAGE = 16 * 1024 * 1024;
const MAX_IN_FLIGHT = 1_000;
const MAX_MESSAGES = 10_000;
/** A client that reads slowly misses progress beyond this: others on the channel must not wait for it. */
const MAX_QUEUED = 256;
const SMALL_TIMEOUT_MS = 5_000;

/**
 * Many requests on one connection, told apart by their ids. It belongs to the upstream that it was opened to; when it is
 * lost, everything that waits fails and is not repeated.
 */
export class Channel {
  /** The next three are settled once, by whoever opens it. */
  era: Era = "legacy";
  version: string | undefined;
  /** What an older upstream declared that it can do. */
  capabilities: JsonObject = {};
  /** What was asked for with `logging/setLevel`. */
  logLevel: string | undefined;
  /** Which connection it is, in this process. */
  readonly name: string;
  readonly #followed = new FollowedTasks();
  readonly #line: Line;
  readonly #options: ChannelOptions;
  readonly #waiting = new Map<number, Waiting>();
  readonly #strays: StrayMessages;
  #lost: RelayFault | undefined;
  #heard = 0;
  #isExamined = false;
  readonly #onLost = new Set<() => void>();
  readonly #bystanders: Bystanders;
  readonly #overhearing = new Set<Overhearing>();

  constructor(line: Line, options: ChannelOptions) {
    this.#line = line;
    this.#options = options;
    this.name = `@${options.nextId()}`;
    this.#strays = new StrayMessages(options.now);
    this.#bystanders = new Bystanders(options.now);
  }

  /** Why nothing can be asked here any more. */
  get lost(): RelayFault | undefined {
    return this.#lost;
  }

  get isFollowed(): boolean {
    return this.#followed.size > 0;
  }

  /** Calls `listener` once, when the channel is lost; at once if it is. Returns how to end that. */
  whenLost(listener: () => void): () => void {
    if (this.#lost) listener();
    else this.#onLost.add(listener);
    return () => this.#onLost.delete(listener);
  }

  /** From now on `listener` is told of changes, and of answers that no call waits for. Returns how to end that. */
  overhear(listener: Overhearing): () => void {
    this.#overhearing.add(listener);
    return () => this.#overhearing.delete(listener);
  }

  /** Sends a request and waits for its answer. Throws `RelayFault`, and `NotTaken` when it was not taken. */
  ask(question: Question): Promise<Answer> {
    const { id, patience } = question;
    if (patience.ended) return Promise.reject(patience.ended);
    // Nothing was sent, so another try is safe.
    if (this.#lost || this.#waiting.size >= MAX_IN_FLIGHT)
      return Promise.reject(new RelayFault("upstream_unreachable", { retryable: true }));
    return new Promise((resolve, reject) => {
      const fresh = { messages: 0, queued: 0, delivered: undefined, asks: undefined };
      const waiting: Waiting = { ...question, ...fresh, resolve, reject };
      this.#waiting.set(id, waiting);
      const leave = () => this.#giveUp(waiting);
      patience.addEventListener("abort", leave);
      const settle = () => {
        patience.removeEventListener("abort", leave);
        waiting.asks?.end();
      };
      waiting.resolve = (answer) => {
        settle();
        resolve(answer);
      };
      waiting.reject = (error) => {
        settle();
        reject(error);
      };
      this.#line
        .send(question.body, question.attempt, patience)
        .catch((error: unknown) => this.#fail(waiting, error));
    });
  }

  /** Sends what needs no answer; whether it arrives changes nothing. Resolves when it is over; never throws. */
  async tell(message: JsonObject, attempt: Attempt): Promise<void> {
    if (this.#lost) return;
    const patience = new Patience(new AbortController().signal, SMALL_TIMEOUT_MS);
    await this.#line.send(stringifyJson(message), attempt, patience).catch(() => {});
    patience.stop();
  }

  /** One message of the upstream, or a batch of them (2025-03-26). */
  received(data: Uint8Array | string, attempt: Attempt): void {
    if (this.#lost) return;
    this.#heard += 1;
    try {
      const value = parseStrictJson(data, { maxBytes: MAX_MESSAGE });
      for (const message of Array.isArray(value) ? value : [value])
        this.#route(message, data.length, attempt);
    } catch (error) {
      if (!(error instanceof JsonFault)) throw error;
      this.#unreadable(data);
    }
  }

  /** Ends the channel; everything that waits fails with `fault`. */
  lose(fault: RelayFault): void {
    if (this.#lost) return;
    this.#lost = fault;
    this.#line.close();
    for (const listener of [...this.#onLost]) listener();
    this.#onLost.clear();
    this.#followed.end();
    for (const waiting of [...this.#waiting.values()]) this.#fail(waiting, fault);
  }

  #route(message: Json, size: number, attempt: Attempt): void {
    const isMessage = isObject(message) && message.jsonrpc === "2.0";
    const isCall = isMessage && typeof message.method === "string";
    const waiting = isMessage && !isCall ? this.#byId(message.id) : undefined;
    if (this.#overhearing.size > 0 && isMessage && !waiting && this.#isOverheard(message)) {
      // However welcome, without end it is not borne.
      this.#stray(size);
      return;
    }
    // No message, an answer to what we gave up, or to nothing we asked.
    if (!isCall && !waiting) {
      this.#stray(size);
      return;
    }
    try {
      const read = readMessage(message, waiting?.id ?? 0);
      if (read.kind === "request") this.#asked(read, size, attempt);
      else if (read.kind === "notification") this.#notified(read, size);
      else this.#finish(waiting!, read);
    } catch (error) {
      if (!(error instanceof RelayFault) || !waiting) throw error;
      this.#fail(waiting, error);
    }
  }

  #isOverheard(message: JsonObject): boolean {
    let isTaken = false;
    for (const listener of [...this.#overhearing]) isTaken = listener(message) || isTaken;
    return isTaken;
  }

  /** Programs print what is no message, a greeting perhaps. An answer that cannot be read still ends its call. */
  #unreadable(data: Uint8Array | string): void {
    const waiting = this.#byId(idIn(typeof data === "string" ? data : Buffer.from(data).toString("utf8")));
    if (waiting) this.#fail(waiting, new RelayFault("upstream_protocol"));
    else this.#stray(data.length);
  }

  #finish(waiting: Waiting, answer: Answer): void {
    this.#leave(waiting, true);
    // Before anything else is read: what comes next may be about it.
    if (answer.kind === "result") answer.news = this.#follow(waiting, answer.result);
    if (!waiting.delivered) {
      waiting.resolve(answer);
      return;
    }
    waiting.patience.until(waiting.delivered).then(
      () => (waiting.patience.ended ? waiting.reject(waiting.patience.ended) : waiting.resolve(answer)),
      (error: unknown) => waiting.reject(error),
    );
  }

  #follow({ id, attempt: { call } }: Waiting, result: JsonObject): TaskNews | undefined {
    const own = call.followsTask && this.era === "legacy" ? taskIn(result) : undefined;
    return own === undefined ? undefined : this.#followed.add(call.progressToken ?? id, own);
  }

  /** Progress names its request; other messages go to the one who waits, if it is certain who that is. */
  #notified(note: Note, size: number): void {
    if (note.method === "notifications/cancelled") {
      this.#onlyOne()?.asks?.withdraw(note.params);
      return;
    }
    if (this.#followed.take(note.method, note.params)) {
      this.#stray(size);
      return;
    }
    const isProgress = note.method === "notifications/progress";
    const waiting = isProgress ? this.#byToken(note.params?.progressToken) : this.#onlyOne();
    if (!waiting || waiting.silent || !this.#isBearable(waiting)) {
      this.#stray(size);
      return;
    }
    waiting.patience.renew();
    if (waiting.queued < MAX_QUEUED) this.#deliver(waiting, note);
  }

  /** Whether a call may hear one message more; else it fails. */
  #isBearable(waiting: Waiting): boolean {
    waiting.messages += 1;
    if (waiting.messages <= MAX_MESSAGES) return true;
    this.#cancel(waiting, "upstream_too_large");
    this.#fail(waiting, new RelayFault("upstream_too_large"));
    return false;
  }

  #deliver(waiting: Waiting, note: Note): void {
    const taken = () => deliver(waiting.attempt.call, waiting.id, note);
    waiting.queued += 1;
    const delivered = (waiting.delivered ?? Promise.resolve()).then(taken);
    waiting.delivered = delivered;
    delivered.catch((error: unknown) => this.#fail(waiting, error)).finally(() => (waiting.queued -= 1));
  }

  #byId(id: Json | undefined): Waiting | undefined {
    return typeof id === "number" ? this.#waiting.get(id) : undefined;
  }

  #byToken(token: Json | undefined): Waiting | undefined {
    if (typeof token !== "string") return this.#byId(token);
    for (const waiting of this.#waiting.values())
      if (waiting.attempt.call.progressToken === token) return waiting;
    return undefined;
  }

  #onlyOne(): Waiting | undefined {
    let only: Waiting | undefined;
    for (const waiting of this.#waiting.values()) {
      if (isNobodys(waiting)) continue;
      if (only) return undefined;
      only = waiting;
    }
    if (!only || this.#options.isOwn) return only;
    return this.#bystanders.areNone(only.attempt.call.caller) ? only : undefined;
  }

  #leave(waiting: Waiting, wasAnswered: boolean): void {
    if (!this.#waiting.delete(waiting.id) || this.#options.isOwn || isNobodys(waiting)) return;
    this.#bystanders.left(waiting.attempt.call.caller, wasAnswered);
  }

  /** What an upstream asks for goes to the client whose call it certainly is; where many share, only `ping` is answered. */
  #asked(request: Extract<Call, { kind: "request" }>, size: number, attempt: Attempt): void {
    const waiting = this.#onlyOne();
    if (waiting) {
      waiting.asks ??= this.#asksOf(waiting);
      try {
        waiting.asks.take(request);
      } catch (error) {
        this.#fail(waiting, error);
      }
      return;
    }
    const { id, method } = request;
    const error = { code: -32601, message: "Method not found" };
    void this.tell(
      method === "ping" ? { jsonrpc: "2.0", id, result: {} } : { jsonrpc: "2.0", id, error },
      attempt,
    );
    this.#stray(size);
  }

  #asksOf({ attempt, patience }: Waiting): UpstreamAsks {
    return new UpstreamAsks(attempt.call, patience, (answer) => {
      void this.tell({ jsonrpc: "2.0", ...answer }, attempt);
    });
  }

  #stray(size: number): void {
    if (this.#strays.add(size)) this.lose(new RelayFault("upstream_too_large"));
  }

  #fail(waiting: Waiting, error: unknown): void {
    this.#leave(waiting, false);
    waiting.reject(error);
  }

  #giveUp(waiting: Waiting): void {
    const ended = waiting.patience.ended!;
    this.#fail(waiting, ended);
    if (waiting.silent) return;
    this.#cancel(waiting, ended.code);
    if (ended.code === "upstream_timeout") void this.#examine(waiting.attempt);
  }

  #cancel({ id, attempt }: Waiting, reason: string): void {
    const params = { requestId: id, reason };
    void this.tell({ jsonrpc: "2.0", method: "notifications/cancelled", params }, attempt);
  }

  /** After a call that ran out of time: who says nothing at all any more hangs, and the next call needs another one. */
  async #examine(attempt: Attempt): Promise<void> {
    if (this.#isExamined || this.#lost) return;
    this.#isExamined = true;
    const heard = this.#heard;
    const patience = new Patience(new AbortController().signal, SMALL_TIMEOUT_MS);
    const id = this.#options.nextId();
    // A server of either era answers it; `ping` is unknown to a modern one, which says so.
    const body = stringifyJson({ jsonrpc: "2.0", id, method: "ping" });
    await this.ask({ id, body, attempt, patience, silent: true }).catch(() => {});
    patience.stop();
    this.#isExamined = false;
    if (this.#heard === heard) this.lose(new RelayFault("upstream_timeout"));
  }
}

/** A call of ours: nobody could be meant. */
function isNobodys({ silent, attempt }: Waiting): boolean {
  return silent === true || attempt.call.onRequest === askNobody;
}
