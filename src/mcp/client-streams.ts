import { type JsonObject, type Log, Problem, stringifyJson, type World } from "../base/index.ts";
import { metaKey, type Notification } from "../relay/index.ts";
import { isObject } from "./body.ts";
import { type Caller, isAnonymous } from "./caller.ts";
import { EventLine } from "./event-line.ts";
import type { Listener } from "./listener.ts";

/** Streams one caller may have open, all without a credential, who can be as many as they like, and all together. */
const MAX_OF_CALLER = 32;
const MAX_ANONYMOUS = 1_000;
const MAX_OPEN = 10_000;
const ANONYMOUS = "anonymous";
const KEEP_ALIVE_MS = 15_000;
/** Older clients come back this soon after a stop, up to five times as late. */
const RETRY_MS = 1_000;
/** How long a stream that broke can be taken up again. */
const RESUMABLE_MS = 5 * 60_000;

interface Held {
  listener: Listener;
  line: EventLine;
  /** Says that the stream is over, where the revision has a message for it. */
  farewell?: string;
  brokeAt?: number;
  /** Told when it cannot be resumed any more. */
  ended?(): void;
}

/** `resumed`: nothing of what was sent is lost. `missed`: something may be, and cannot be said again. */
export type Opening = "new" | "resumed" | "missed";

/** A `subscriptions/listen` under way (2026-07-28). */
export interface ListenRequest {
  id: string | number;
  acknowledged: JsonObject;
  /** The result of the request, as text: it ends the stream. */
  farewell: string;
}

/**
 * The streams that clients keep open for what belongs to no call. Before 2026-07-28 with GET, one per session: a new one
 * takes the place of the old, and one that broke is resumed by its owner, in the same session, on this replica. Since then
 * with `subscriptions/listen`, each request its own, and nothing is resumed.
 */
export class ClientStreams {
  /** Told of a stream that begins, after its first event. */
  readonly opened: ((listener: Listener, how: Opening) => void)[] = [];
  /** Told when nobody reads a stream any more; an older client's may be opened again. */
  readonly left: ((listener: Listener) => void)[] = [];
  /** Told now and then, for what happens by itself. */
  readonly ticked: (() => void)[] = [];
  /** Told when all of them end. */
  readonly closing: (() => void)[] = [];
  readonly #world: Pick<World, "now" | "random">;
  readonly #log: Log;
  /** By binding and session, or by a number. */
  readonly #held = new Map<string, Held>();
  /** Those whose session got its name after the stream was opened. */
  readonly #named = new Map<string, Listener>();
  /** How many there are, by `countedAs`. */
  readonly #counts = new Map<string, number>();
  readonly #keepAlive: NodeJS.Timeout;
  #closed = false;
  #last = 0;

  constructor({ world }: { world: World }) {
    this.#world = world;
    this.#log = world.log;
    this.#keepAlive = setInterval(() => this.tick(), KEEP_ALIVE_MS).unref();
  }

  get size(): number {
    return this.#held.size;
  }

  /** Everybody who can be told something, also those whose stream broke and may be resumed. */
  *all(): Generator<Listener> {
    for (const { listener } of this.#held.values()) yield listener;
  }

  /** The stream of a session; it may be broken, and waiting to be resumed. */
  of(binding: string, session: string): Listener | undefined {
    const key = `${binding} ${session}`;
    return this.#held.get(key)?.listener ?? this.#named.get(key);
  }

  /** The stream was opened before its session had a name, and has one now. */
  name(listener: Listener, session: string): void {
    this.#unname(listener);
    listener.session = session;
    this.#named.set(`${listener.caller.binding} ${session}`, listener);
  }

  /** Opens or resumes the stream of a session. Throws 429 when the caller has too many. */
  open(
    listener: Listener,
    lastEventId: string | null,
    options: { ended?(): void; isResumable?: boolean; highWater?: number } = {},
  ): { body: ReadableStream<Uint8Array>; line: EventLine } {
    const { caller, client } = listener;
    const key = `${caller.binding} ${client.session}`;
    const known = this.#held.get(key);
    if (!known) this.#admit(caller);
    // MC-15: the id of another stream, another session or another caller finds nothing here.
    const seen = known && lastEventId !== null ? known.line.positionOf(lastEventId) : undefined;
    const lost = seen === undefined && (known ? known.line.unread : lastEventId !== null);
    if (known) this.#replace(known, listener);
    const line = seen === undefined ? this.#line(options.highWater) : known!.line;
    const held: Held = { listener, line, ended: options.ended };
    this.#held.set(key, held);
    listener.send = (notification) => line.send(notification);
    const body = line.open(() => {
      if (options.isResumable === false) return void this.#drop(key);
      held.brokeAt = this.#world.now().getTime();
      this.#leave(listener);
    });
    // 2025-11-25: a first event with an id and no data, so that there is something to resume from. Older ones would trip.
    if (seen !== undefined) line.replay(seen);
    else if (client.version === "2025-11-25") line.prime();
    if (this.#closed) line.close();
    else this.#tell(listener, seen !== undefined ? "resumed" : lost ? "missed" : "new");
    return { body, line };
  }

  /** Opens the stream of a `subscriptions/listen`; its first message says what is honoured. Throws as `open` does. */
  listen(listener: Listener, { id, acknowledged, farewell }: ListenRequest): ReadableStream<Uint8Array> {
    this.#admit(listener.caller);
    const key = `listen ${++this.#last}`;
    const line = this.#line();
    listener.send = (notification) => line.event("message", tagged(notification, id));
    const body = line.open(() => {
      this.#drop(key);
    });
    this.#held.set(key, { listener, line, farewell });
    listener.send({ method: "notifications/subscriptions/acknowledged", params: acknowledged });
    if (this.#closed) this.#finish(key);
    else this.#tell(listener, "new");
    return body;
  }

  /** To every listener that `concerns` names; who does not read loses the stream, not the gateway its memory. */
  send(concerns: (listener: Listener) => boolean, notification: Notification): void {
    for (const { listener } of [...this.#held.values()]) if (concerns(listener)) listener.send(notification);
  }

  /** Ends the streams that `which` names. */
  end(which: (listener: Listener) => boolean): void {
    for (const [key, { listener }] of [...this.#held]) if (which(listener)) this.#finish(key);
  }

  /** A session ended: so does its stream. */
  endSession(session: string): void {
    this.end((listener) => listener.session === session);
  }

  /** The process stops: clients are to come back elsewhere, and not all in the same moment (AV-18). */
  close(): void {
    this.#closed = true;
    clearInterval(this.#keepAlive);
    for (const hear of this.closing.splice(0)) hear();
    for (const { line, farewell } of this.#held.values())
      if (farewell === undefined) line.retryAfter(RETRY_MS * (1 + this.#world.random(1)[0]! / 64));
    this.end(() => true);
  }

  #line(highWater?: number): EventLine {
    return new EventLine(Buffer.from(this.#world.random(16)).toString("base64url"), highWater);
  }

  #tell(listener: Listener, how: Opening): void {
    for (const hear of this.opened) hear(listener, how);
  }

  /** What the old listener was told holds for the one that takes its place: it may not have looked since. */
  #replace(known: Held, listener: Listener): void {
    known.line.close();
    listener.seen = known.listener.seen ?? listener.seen;
    this.#leave(known.listener);
  }

  #leave(listener: Listener): void {
    if (listener.isGone) return;
    listener.isGone = true;
    for (const hear of this.left) hear(listener);
  }

  #admit(caller: Caller): void {
    const counted = countedAs(caller);
    const isFull = (name: string) => (this.#counts.get(name) ?? 0) >= mostOf(name);
    // What nobody reads makes room before somebody is refused: a program may begin one session after the other.
    for (const name of counted)
      if (isFull(name)) this.#dropBroken(({ listener }) => countedAs(listener.caller).includes(name));
    if (this.#held.size >= MAX_OPEN) this.#dropBroken(() => true);
    if (counted.some(isFull) || this.#held.size >= MAX_OPEN) {
      const message = "Too many streams are open already. Close some of them, or end their sessions.";
      throw new Problem("too_many", "too_many_streams", message, { retryAfter: 60 });
    }
    for (const name of counted) this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  /** The one of these that has been broken longest. */
  #dropBroken(which: (held: Held) => boolean): void {
    let oldest: { key: string; brokeAt: number } | undefined;
    for (const [key, held] of this.#held) {
      const { brokeAt } = held;
      if (brokeAt !== undefined && which(held) && brokeAt < (oldest?.brokeAt ?? Number.POSITIVE_INFINITY))
        oldest = { key, brokeAt };
    }
    if (oldest) this.#drop(oldest.key);
  }

  #unname(listener: Listener): void {
    const key = `${listener.caller.binding} ${listener.session}`;
    if (this.#named.get(key) === listener) this.#named.delete(key);
  }

  #drop(key: string): Held | undefined {
    const held = this.#held.get(key);
    if (!held) return undefined;
    this.#held.delete(key);
    this.#unname(held.listener);
    for (const name of countedAs(held.listener.caller)) {
      const left = (this.#counts.get(name) ?? 1) - 1;
      if (left > 0) this.#counts.set(name, left);
      else this.#counts.delete(name);
    }
    this.#leave(held.listener);
    held.ended?.();
    return held;
  }

  #finish(key: string): void {
    const held = this.#drop(key);
    if (held?.farewell !== undefined) held.line.event("message", held.farewell);
    held?.line.close();
  }

  /** Keeps streams alive, and ends what is over by itself; called by a timer. */
  tick(): void {
    const now = this.#world.now().getTime();
    for (const [key, { listener, line, brokeAt }] of [...this.#held]) {
      // A credential that ended by itself: nothing else tells us.
      if ((listener.caller.until ?? Number.POSITIVE_INFINITY) <= now) this.#finish(key);
      else if (brokeAt === undefined) line.keepAlive();
      else if (brokeAt <= now - RESUMABLE_MS) this.#drop(key);
    }
    for (const hear of this.ticked) hear();
    this.#log.debug("mcp.streams_kept", { open: this.#held.size });
  }
}

function countedAs({ binding, owner }: Caller): string[] {
  return isAnonymous({ binding, owner }) ? [binding, ANONYMOUS] : [binding];
}

function mostOf(name: string): number {
  return name === ANONYMOUS ? MAX_ANONYMOUS : MAX_OF_CALLER;
}

/** 2026-07-28: every notification on the stream names the request it belongs to. */
function tagged({ method, params }: Notification, id: string | number): string {
  const meta = isObject(params?._meta) ? params._meta : {};
  const tags = { ...meta, [metaKey.subscriptionId]: id };
  return stringifyJson({ jsonrpc: "2.0", method, params: { ...params, _meta: tags } });
}
