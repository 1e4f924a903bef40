import type { JsonObject } from "../base/index.ts";
import type { SessionStream } from "./session-stream.ts";

/** What an `initialize` with an older upstream gave us. */
export interface LegacySession {
  /** `Mcp-Session-Id`; absent when the upstream keeps none. */
  id?: string;
  version: string;
  /** What the upstream declared that it can do. */
  capabilities?: JsonObject;
  /** What was asked for with `logging/setLevel`. */
  logLevel?: string;
  /** Its standing GET stream, where something may be asked on it. */
  stream?: SessionStream;
}

interface Entry {
  session: Promise<LegacySession>;
  /** The same, once it is there. */
  opened?: LegacySession;
  usedAt: number;
}

/** Enough for many people at once; the longest unused go first. */
const MAX_SESSIONS = 5_000;
const IDLE_MS = 5 * 60_000;

/**
 * Warm sessions with older upstreams, one per (owner, upstream, credential, credential generation, upstream generation):
 * never shared between people, never outliving the credential they were opened with.
 */
export class LegacySessions {
  readonly #entries = new Map<string, Entry>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The warm session of `key`, or the one `open` makes; however many wait, it is opened once. */
  get(key: string, open: () => Promise<LegacySession>): Promise<LegacySession> {
    const now = this.#now();
    const known = this.#entries.get(key);
    if (known && !isIdle(known, now)) {
      known.usedAt = now;
      return known.session;
    }
    if (known) this.#forget(key, known);
    const entry: Entry = { session: open(), usedAt: now };
    this.#entries.set(key, entry);
    // A failed opening is nobody's session; the next call tries again.
    entry.session.then(
      (opened) => (entry.opened = opened),
      () => this.#forget(key, entry),
    );
    if (this.#entries.size > MAX_SESSIONS) this.#evict();
    return entry.session;
  }

  /** Forgets a session the upstream no longer knows, unless it was replaced already. */
  async drop(key: string, session: LegacySession): Promise<void> {
    const entry = this.#entries.get(key);
    if (entry && (await entry.session.catch(() => undefined)) === session) this.#forget(key, entry);
  }

  /** Forgets what nobody used for a while. */
  sweep(): void {
    const now = this.#now();
    for (const [key, entry] of this.#entries) if (isIdle(entry, now)) this.#forget(key, entry);
  }

  clear(): void {
    for (const [key, entry] of this.#entries) this.#forget(key, entry);
  }

  #forget(key: string, entry: Entry): void {
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
    entry.session.then(
      ({ stream }) => stream?.close(),
      () => {},
    );
  }

  #evict(): void {
    this.sweep();
    let oldest: [string, Entry] | undefined;
    if (this.#entries.size <= MAX_SESSIONS) return;
    for (const entry of this.#entries) if (!oldest || entry[1].usedAt < oldest[1].usedAt) oldest = entry;
    if (oldest) this.#forget(...oldest);
  }
}

/** Nobody uses it, and nobody waits for news of what was made in it. */
function isIdle({ usedAt, opened }: Entry, now: number): boolean {
  return now - usedAt >= IDLE_MS && !opened?.stream?.isFollowed;
}
