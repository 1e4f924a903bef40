import type { World } from "../base/index.ts";
import type { Attempt, Attempted } from "./attempt.ts";
import { type Channel, NotTaken } from "./channel.ts";
import { openConversation, setLevel, speak } from "./conversation.ts";
import { RelayFault } from "./fault.ts";
import { offered, ownerKey, sessionKey } from "./legacy-session.ts";
import { Patience } from "./patience.ts";
import type { Implementation } from "./request.ts";
import { SseLine } from "./sse-line.ts";

/** Each holds a connection, of those that streams of one origin may have. */
const MAX_PER_UPSTREAM = 128;
/** Connections of watches, to all upstreams together. */
const MAX_WATCHED = 1_000;
const IDLE_MS = 5 * 60_000;
/** The same for one on which a task was made: servers bind tasks to it, and who has one looks at it now and then. */
const TASK_IDLE_MS = 30 * 60_000;

interface Entry {
  key: string;
  /** Whose it is, whatever its clients can be asked. */
  whose: string;
  upstreamId: string;
  channel: Promise<Channel>;
  /** The same, once it is there. */
  opened?: Channel;
  hasTask: boolean;
  /** Only for what is about its tasks. */
  isTaken: boolean;
  /** Calls that chose it. */
  users: number;
  usedAt: number;
}

export interface SseParts {
  world: World;
  self: Implementation;
  nextId(): number;
}

/**
 * Upstreams of the transport of 2024-11-05. One connection per (owner, upstream, credential, generations), as for sessions;
 * a call whose client can be asked something has one to itself, because a question there names no call.
 */
export class SseUpstreams {
  readonly #parts: SseParts;
  readonly #entries = new Set<Entry>();
  /** The same by key: a call must not look at other people's. */
  readonly #byKey = new Map<string, Set<Entry>>();
  /** Connections of watches. */
  readonly #watched = new Set<Channel>();

  constructor(parts: SseParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Throws `RelayFault`. */
  async call(attempt: Attempt, patience: Patience): Promise<Attempted> {
    for (let again = false; ; again = true) {
      const entry = (again ? undefined : this.#ofTask(attempt)) ?? this.#entry(attempt);
      entry.users += 1;
      try {
        const channel = await within(entry.channel, patience);
        const { nextId, self } = this.#parts;
        await setLevel(channel, attempt, nextId(), patience);
        const attempted = await speak(channel, attempt, nextId(), self, patience);
        entry.hasTask ||= attempted.outcome === "result" && attempted.task !== undefined;
        return attempted;
      } catch (error) {
        if (!(error instanceof NotTaken)) throw error;
        if (error.attempted !== "lost") return error.attempted;
        // It did nothing with the message and does not know the connection: another one, once.
        this.#drop(entry);
        if (again) throw new RelayFault("upstream_protocol");
      } finally {
        entry.users -= 1;
        entry.usedAt = this.#now();
        // What is asked late on it must not reach the next person.
        if (attempt.call.onRequest && !attempt.call.owner) this.#retire(entry);
      }
    }
  }

  /**
   * A connection for one watch, which ends it with `lose`. Throws `RelayFault`, and `NotTaken`.
   */
  async standing(attempt: Attempt): Promise<Channel> {
    if (this.#watched.size >= MAX_WATCHED) throw new RelayFault("upstream_unreachable", { retryable: true });
    const channel = await this.#open(attempt);
    this.#watched.add(channel);
    channel.whenLost(() => this.#watched.delete(channel));
    return channel;
  }

  /** Closes what nobody used for a while. */
  sweep(): void {
    const now = this.#now();
    for (const entry of this.#entries) if (isIdle(entry, now)) this.#drop(entry);
  }

  close(): void {
    for (const entry of this.#entries) this.#drop(entry);
    for (const channel of [...this.#watched]) channel.lose(new RelayFault("upstream_unreachable"));
  }

  /** The connection on which the task was made that this is about, if it is still there and still this owner's. */
  #ofTask(attempt: Attempt): Entry | undefined {
    const { session } = attempt.call;
    if (session === undefined) return undefined;
    const whose = ownerKey(attempt);
    for (const entry of this.#entries)
      if (entry.opened?.name === session && entry.whose === whose) return entry;
    return undefined;
  }

  #entry(attempt: Attempt): Entry {
    const key = sessionKey(attempt);
    const isAlone = attempt.call.onRequest !== undefined;
    for (const entry of this.#byKey.get(key) ?? [])
      if (!entry.isTaken && (!isAlone || entry.users === 0)) return entry;
    const upstreamId = attempt.call.upstream.id;
    this.#makeRoom(upstreamId);
    const channel = this.#open(attempt);
    const whose = ownerKey(attempt);
    const fresh = { hasTask: false, isTaken: false, users: 0, usedAt: this.#now() };
    const entry: Entry = { key, whose, upstreamId, channel, ...fresh };
    this.#entries.add(entry);
    const same = this.#byKey.get(key);
    if (same) same.add(entry);
    else this.#byKey.set(key, new Set([entry]));
    channel.then(
      (open) => {
        entry.opened = open;
        open.whenLost(() => this.#forget(entry));
      },
      () => this.#forget(entry),
    );
    return entry;
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry);
    const same = this.#byKey.get(entry.key);
    same?.delete(entry);
    if (same?.size === 0) this.#byKey.delete(entry.key);
  }

  /** Others may wait for it: it does not end with this call's client. */
  async #open(attempt: Attempt): Promise<Channel> {
    const { world, self, nextId } = this.#parts;
    const { call } = attempt;
    const patience = new Patience(new AbortController().signal, call.upstream.timeoutMs);
    // Belongs to the connection, not to the call that happens to be the first.
    const opener = attempt.with({ ...call, extraHeaders: undefined, onNotification: undefined });
    const isOwn = call.owner !== undefined || call.onRequest !== undefined;
    const options = { nextId, now: () => this.#now(), isOwn };
    try {
      const channel = await SseLine.open(world, opener, options, patience);
      const capabilities = offered(call);
      const opening = { channel, attempt: opener, capabilities, self, nextId, patience, probeMs: 0 };
      try {
        if (await openConversation("legacy", opening)) return channel;
        throw new RelayFault("upstream_protocol");
      } catch (error) {
        channel.lose(new RelayFault("upstream_unreachable"));
        throw error;
      }
    } finally {
      patience.stop();
    }
  }

  #makeRoom(upstreamId: string): void {
    const same = [...this.#entries].filter((entry) => entry.upstreamId === upstreamId);
    if (same.length < MAX_PER_UPSTREAM) return;
    const idle = same
      .filter(({ users }) => users === 0)
      .sort((a, b) => Number(a.hasTask) - Number(b.hasTask) || a.usedAt - b.usedAt)[0];
    if (!idle) throw new RelayFault("upstream_unreachable", { retryable: true });
    this.#drop(idle);
  }

  /** No further call is made on it. */
  #retire(entry: Entry): void {
    if (entry.hasTask) entry.isTaken = true;
    else this.#drop(entry);
  }

  #drop(entry: Entry): void {
    this.#forget(entry);
    entry.channel.then(
      (channel) => channel.lose(new RelayFault("upstream_unreachable", { retryable: true })),
      () => {},
    );
  }

  #now(): number {
    return this.#parts.world.now().getTime();
  }
}

async function within<T>(work: Promise<T>, patience: Patience): Promise<T> {
  await patience.until(work.then(() => {}));
  if (patience.ended) throw patience.ended;
  return work;
}

function isIdle({ users, usedAt, hasTask, opened }: Entry, now: number): boolean {
  if (users > 0 || opened?.isFollowed) return false;
  return now - usedAt >= (hasTask ? TASK_IDLE_MS : IDLE_MS);
}
