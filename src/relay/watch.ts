import type { JsonObject, Owner } from "../base/index.ts";
import type { RelayUpstream } from "./parts.ts";
import { Coalescer } from "./watch-coalescer.ts";
import { Feed, type FeedParts } from "./watch-feed.ts";
import { isNothing, isSame, isWanted, unionOf, type WatchWanted } from "./watch-wanted.ts";

/** Which upstream, with whose credential. `owner` and `account` count only where credentials are personal. */
export interface WatchFor {
  upstream: RelayUpstream;
  owner?: Owner;
  account?: string;
}

/** What a watch tells. All of it comes from timers and streams, so nothing may be thrown. */
export interface WatchListener {
  /**
   * A change that was asked for: one of the four notifications of `WatchWanted`, with the upstream's own URIs and without
   * what belongs to its stream. The same one comes at most once a second (MC-39); the first at once.
   */
  notification(method: string, params: JsonObject): void;
  /**
   * Nothing is heard for now: `needs_user` (there is no credential, or it was revoked, or is orphaned), `not_offered` (the
   * upstream has none of it), `too_many`, or the code of a failure. The watch goes on trying by itself until it is closed.
   */
  lost?(reason: string): void;
  /** It is heard from now on; told to those who were there before it was. */
  opened?(): void;
  /** It is heard again after it was lost; what changed in between was not heard. */
  reopened?(): void;
}

export interface Watching {
  /** Replaces what is wanted. Nothing wanted: the upstream is left alone, until something is. */
  change(wanted: WatchWanted): void;
  close(): void;
}

interface Member {
  wanted: WatchWanted;
  on: WatchListener;
}

interface Shared {
  feed: Feed;
  members: Set<Member>;
  /** Runs while changed wishes are gathered. */
  timer?: NodeJS.Timeout | undefined;
}

/** How long the end of the process may wait for upstreams to be told. */
const CLOSING_MS = 2_000;
/** Wishes that change within this time become one request. */
const GATHER_MS = 50;

/** Streams toward upstreams, each with a connection of its own. */
const MAX_FEEDS = 4_000;
/** Who listens to one of them. */
const MAX_MEMBERS = 10_000;

/**
 * Everything that is watched. Who watches the same upstream with the same credential shares a stream, and hears what they
 * asked for themselves; different owners never do.
 */
export class Watches {
  readonly #parts: FeedParts;
  readonly #shared = new Map<string, Shared>();
  readonly #checker: NodeJS.Timeout;
  #isClosed = false;

  constructor(parts: FeedParts) {
    this.#parts = parts;
    // A revoked credential must not be listened with: each stream asks for its own, from memory as long as it is warm.
    this.#checker = setInterval(() => this.check(), parts.checkMs).unref();
  }

  get size(): number {
    return this.#shared.size;
  }

  watch(target: WatchFor, wanted: WatchWanted, on: WatchListener): Watching {
    const key = keyOf(target);
    const member: Member = { wanted, on };
    const shared = this.#find(key, target);
    if (!shared) {
      on.lost?.("too_many");
      return { change() {}, close() {} };
    }
    const { feed, members } = shared;
    members.add(member);
    // Who comes later hears of it too, though not before this returns.
    const { lostFor } = feed;
    if (lostFor !== undefined)
      queueMicrotask(() => {
        if (members.has(member) && feed.lostFor === lostFor) on.lost?.(lostFor);
      });
    this.#settle(shared);
    return {
      change: (changed) => {
        member.wanted = changed;
        if (members.has(member)) this.#settle(shared);
      },
      close: () => {
        if (!members.delete(member)) return;
        if (members.size > 0) this.#settle(shared);
        else {
          void this.#end(shared);
          this.#shared.delete(key);
        }
      },
    };
  }

  /** Ends every stream whose credential is gone, and opens it anew with one that was renewed; called by a timer. */
  check(): void {
    for (const { feed } of this.#shared.values()) feed.check();
  }

  /** Resolves when everything is closed, or does not close soon. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#checker);
    const ends = [...this.#shared.values()].map((shared) => this.#end(shared));
    this.#shared.clear();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSING_MS);
    });
    await Promise.race([Promise.all(ends), late]);
    clearTimeout(timer);
  }

  #end(shared: Shared): Promise<void> {
    clearTimeout(shared.timer);
    return shared.feed.close();
  }

  #find(key: string, target: WatchFor): Shared | undefined {
    const known = this.#shared.get(key);
    if (known) return known.members.size < MAX_MEMBERS ? known : undefined;
    if (this.#isClosed || this.#shared.size >= MAX_FEEDS) return undefined;
    const members = new Set<Member>();
    const tell = (method: string, params: JsonObject) => {
      for (const { wanted, on } of members)
        if (isWanted(wanted, method, params)) on.notification(method, params);
    };
    const coalescer = new Coalescer(tell);
    const feed = new Feed(this.#parts, target, {
      heard: (method, params) => coalescer.take(method, params),
      lost: (reason) => {
        for (const { on } of members) on.lost?.(reason);
      },
      opened: () => {
        for (const { on } of members) on.opened?.();
      },
      reopened: () => {
        for (const { on } of members) on.reopened?.();
      },
      closed: () => coalescer.close(),
    });
    const shared: Shared = { feed, members };
    this.#shared.set(key, shared);
    return shared;
  }

  #settle(shared: Shared): void {
    const { feed, members } = shared;
    const now = () => {
      shared.timer = undefined;
      const all: WatchWanted[] = [];
      for (const { wanted } of members) all.push(wanted);
      const union = unionOf(all);
      if (!isSame(union, feed.wanted)) feed.change(union);
    };
    if (isNothing(feed.wanted)) now();
    else shared.timer ??= setTimeout(now, GATHER_MS).unref();
  }
}

/** What differs in any of it shares no stream (ID-21). */
function keyOf({ upstream, owner, account }: WatchFor): string {
  const whose = upstream.perUser && owner ? `${owner.mode}:${owner.id} ${account ?? ""}` : "";
  return `${upstream.id} ${upstream.generation} ${whose}`;
}
