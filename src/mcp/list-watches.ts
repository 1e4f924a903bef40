import type { Owner } from "../base/index.ts";
import type { Watching, WatchWanted } from "../relay/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { isObject } from "./body.ts";
import type { ClientStreams } from "./client-streams.ts";
import type { Listener } from "./listener.ts";
import { mayUse } from "./offers.ts";
import type { McpParts } from "./parts.ts";

interface Watched {
  listener: Listener;
  key: string;
  watching: Watching;
}

const FRESH_MS = 60_000;

type Parts = Pick<McpParts, "relay" | "upstreams" | "tools" | "world">;

/**
 * Listens to upstreams for changes of their lists, as long as somebody is there who may see them: one stream per upstream,
 * with the credential of one who has one, since what is stored of an upstream is the same for all. What changed is read
 * anew, and then told to whom it concerns.
 */
export class ListWatches {
  readonly #parts: Parts;
  readonly #streams: ClientStreams;
  readonly #watched = new Map<string, Watched>();
  /** Whose credential did not open a stream, until something about it changes: `mode:id upstream`. */
  readonly #refused = new Set<string>();
  #closed = false;

  constructor(parts: Parts, streams: ClientStreams) {
    this.#parts = parts;
    this.#streams = streams;
  }

  /** How many upstreams are listened to. */
  get size(): number {
    return this.#watched.size;
  }

  /** Brings it in line with who is there now. */
  settle(): void {
    for (const [id, { watching }] of this.#watched) {
      if (this.#parts.upstreams.find(id)) continue;
      watching.close();
      this.#watched.delete(id);
    }
    for (const upstream of this.#parts.upstreams.all()) this.#settle(upstream);
  }

  close(): void {
    this.#closed = true;
    for (const { watching } of this.#watched.values()) watching.close();
    this.#watched.clear();
  }

  /** A credential changed: what was refused may be taken. `owner`: `mode:id`; undefined: anybody's. */
  forgive(owner?: string): void {
    for (const refused of this.#refused)
      if (owner === undefined || refused.startsWith(`${owner} `)) this.#refused.delete(refused);
  }

  #settle(upstream: Upstream): void {
    const known = this.#watched.get(upstream.id);
    const wanted = announced(upstream);
    const listener = wanted && this.#listenerAt(upstream, known?.listener);
    const key = listener && wanted && `${upstream.generation} ${ownerOf(upstream, listener) ?? ""}`;
    if (known && known.key === key) {
      known.listener = listener!;
      known.watching.change(wanted!);
      return;
    }
    known?.watching.close();
    this.#watched.delete(upstream.id);
    if (listener && wanted && key !== undefined) this.#watch(upstream, listener, wanted, key);
  }

  #watch(upstream: Upstream, listener: Listener, wanted: WatchWanted, key: string): void {
    const { relay, tools, world } = this.#parts;
    const owner: Owner | undefined = upstream.perUser ? listener.caller.owner : undefined;
    const watched: Watched = { listener, key, watching: { change() {}, close() {} } };
    this.#watched.set(upstream.id, watched);
    const changed = () => tools.announced(upstream.id, owner);
    watched.watching = relay.watch({ upstream, owner }, wanted, {
      notification: changed,
      // What changed while it was not heard nobody said.
      opened: () => {
        if (!this.#isFresh(upstream.id)) changed();
      },
      reopened: changed,
      lost: (reason) => {
        world.log.debug("mcp.lists_not_watched", { upstream: upstream.name, reason });
        if (reason !== "needs_user" || this.#watched.get(upstream.id) !== watched) return;
        this.#refused.add(`${ownerOf(upstream, watched.listener)} ${upstream.id}`);
        // Not from within the relay's own round.
        setImmediate(() => {
          const current = this.#parts.upstreams.find(upstream.id);
          if (current && !this.#closed) this.#settle(current);
        });
      },
    });
  }

  /** Whether its lists were read just now, by whichever replica: clients come and go. */
  #isFresh(id: string): boolean {
    const readAt = this.#parts.upstreams.find(id)?.toolsSyncedAt;
    return readAt !== undefined && this.#parts.world.now().getTime() - readAt < FRESH_MS;
  }

  /** Who watched before goes on, where that still is somebody. */
  #listenerAt(upstream: Upstream, before: Listener | undefined): Listener | undefined {
    if (before && this.#mayWatch(before, upstream)) return before;
    for (const listener of this.#streams.all()) if (this.#mayWatch(listener, upstream)) return listener;
    return undefined;
  }

  #mayWatch(listener: Listener, upstream: Upstream): boolean {
    const { isGone, rules, connected } = listener;
    if (isGone || !rules?.upstreams.has(upstream.id)) return false;
    if (upstream.perUser && !connected.has(upstream.id)) return false;
    if (this.#refused.has(`${ownerOf(upstream, listener)} ${upstream.id}`)) return false;
    return mayUse(rules, upstream);
  }
}

function ownerOf(upstream: Upstream, { caller: { owner } }: Listener): string | undefined {
  return upstream.perUser ? `${owner.mode}:${owner.id}` : undefined;
}

/** The lists whose changes the upstream says it tells of; undefined: none. */
function announced({ features }: Upstream): WatchWanted | undefined {
  const tells = (capability: string) => {
    const declared = features?.capabilities[capability];
    return isObject(declared) && declared.listChanged === true;
  };
  const wanted = {
    toolsListChanged: tells("tools"),
    promptsListChanged: tells("prompts"),
    resourcesListChanged: tells("resources"),
  };
  return Object.values(wanted).includes(true) ? wanted : undefined;
}
