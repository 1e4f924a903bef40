import { sha256, stringifyJson } from "../base/index.ts";
import { EVERYTHING } from "../db/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { type Callers, isAnonymous } from "./caller.ts";
import type { ClientStreams } from "./client-streams.ts";
import type { FollowedResources } from "./followed-resources.ts";
import type { ListWatches } from "./list-watches.ts";
import { type Listener, type ListKind, listKinds } from "./listener.ts";
import type { McpParts } from "./parts.ts";
import type { SeenLists } from "./seen-lists.ts";

/** A burst is one push: how long after its last change, after its first at most, and after the push before (MC-39). */
const GATHER_MS = 50;
const LONGEST_MS = 3_000;
const PAUSE_MS = 1_000;
/**
 * The list that a client reads then may come from another replica, which hears of the change within a second; much sooner
 * where all of them are known to listen.
 */
const REPLICAS_MS = 1_000;
const LISTENING_MS = 250;
/** Listeners looked at side by side, and before others get their turn. */
const AT_ONCE = 16;

const methods: Readonly<Record<ListKind, string>> = {
  tools: "notifications/tools/list_changed",
  prompts: "notifications/prompts/list_changed",
  resources: "notifications/resources/list_changed",
};

interface Parts {
  mcp: Pick<McpParts, "world" | "settings" | "database" | "upstreams" | "virtualKeys">;
  callers: Callers;
  streams: ClientStreams;
  seen: SeenLists;
  followed: FollowedResources;
  watches: ListWatches;
}

/**
 * Tells those who listen that a list of theirs changed, and nobody else: whatever may change a list makes those it may
 * concern be looked at anew, and only who sees something else than before is told. Ends the streams of those who may not
 * listen any more.
 */
export class ListChanges {
  readonly #parts: Parts;
  /** What of each upstream anybody could see, as a digest. */
  readonly #shapes = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #people = new Set<string>();
  #version = -1;
  #running = false;
  #again = false;
  #closed = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    for (const upstream of parts.mcp.upstreams.all()) this.#shapes.set(upstream.id, shapeOf(upstream));
    parts.mcp.database.changes.listen(({ topic, key }) => this.#heard(topic, key));
    parts.streams.ticked.push(() => this.#tick());
  }

  get #gatherMs(): number {
    const { kind, changes } = this.#parts.mcp.database;
    if (kind === "sqlite") return GATHER_MS;
    return changes.reachesAll ? LISTENING_MS : REPLICAS_MS;
  }

  /** Looks at this listener, or at nobody new, soon; what is watched for whoever is there follows. */
  soon(listener?: Listener): void {
    if (listener) mark(listener);
    this.#schedule(GATHER_MS);
  }

  /** Says that every list may have changed: what was said meanwhile is lost. */
  tellAll(listener: Listener): void {
    for (const kind of listenedTo(listener)) listener.send({ method: methods[kind] });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #heard(topic: string, key: string): void {
    switch (topic) {
      case "upstream":
        // The memory follows the change in its own time.
        void this.#parts.mcp.upstreams.settled().then(() => this.#upstreamChanged(key));
        break;
      case "credential":
        this.#credentialChanged(key);
        break;
      case "grant":
        this.#prove(({ caller }) => caller.binding === `grant:${key}`);
        break;
      case "user":
        this.#prove(({ caller: { owner } }) => owner.mode === "user" && owner.id === key);
        break;
      case "access":
        this.#accessChanged(key);
        break;
      case "virtual_mcp":
        this.#prove(({ slug }) => slug !== undefined);
        break;
      case "virtual_key":
        this.#keyChanged(key);
        break;
      case EVERYTHING:
        this.#parts.seen.standings.clear();
        this.#prove(() => true);
    }
  }

  /** Of one change of a group as many are told as it has members: they are looked for together. */
  #accessChanged(userId: string): void {
    this.#people.add(userId);
    if (this.#people.size > 1) return;
    queueMicrotask(() => {
      const people = this.#people;
      this.#people = new Set();
      this.#prove(({ caller: { owner } }) => owner.mode === "user" && people.has(owner.id));
    });
  }

  #upstreamChanged(id: string): void {
    const upstream = this.#parts.mcp.upstreams.find(id);
    const before = this.#shapes.get(id);
    const after = upstream && shapeOf(upstream);
    if (before === after) return;
    if (after === undefined) this.#shapes.delete(id);
    else this.#shapes.set(id, after);
    // Whether it is for everybody is part of everybody's rules.
    const isRuleDue = (before ?? "").slice(0, 1) !== (after ?? "").slice(0, 1);
    this.#due(({ rules }) => isRuleDue || !rules || rules.upstreams.has(id), isRuleDue);
  }

  /** For what nobody tells: rules that end by their date, and what the memory read anew after a fault of the store. */
  #tick(): void {
    const { streams, mcp } = this.#parts;
    if (streams.size === 0) return;
    if (mcp.settings.enforceAuthOnInference) streams.end(({ caller }) => isAnonymous(caller));
    const now = mcp.world.now().getTime();
    this.#due(({ rulesUntil }) => rulesUntil <= now, true);
    if (this.#version === mcp.upstreams.version) return;
    this.#version = mcp.upstreams.version;
    const ids = mcp.upstreams.all().map(({ id }) => id);
    for (const id of new Set([...this.#shapes.keys(), ...ids])) this.#upstreamChanged(id);
  }

  #credentialChanged(key: string): void {
    const owner = this.#dropStanding(key);
    this.#parts.watches.forgive(owner);
    this.#due(({ caller }) => owner === undefined || owner === `${caller.owner.mode}:${caller.owner.id}`);
  }

  #dropStanding(key: string): string | undefined {
    const { standings } = this.#parts.seen;
    if (key.startsWith("upstream:")) {
      standings.clear();
      return undefined;
    }
    const owner = key.split(":", 2).join(":");
    standings.drop(owner);
    return owner;
  }

  /** A key concerns who came with it; one that belongs to a person, also the person. */
  #keyChanged(id: string): void {
    const isOf = ({ virtualKeyId }: Listener["caller"]) => virtualKeyId === id;
    this.#prove(({ caller }) => isOf(caller));
    const concerns = (userId?: string) => {
      this.#prove(({ caller }) => {
        const { owner, virtualKeyId } = caller;
        if (owner.mode !== "user" || virtualKeyId !== undefined) return false;
        return userId === undefined || owner.id === userId;
      });
    };
    this.#parts.mcp.virtualKeys.find(id).then(
      (key) => {
        // Of one that is gone nobody knows any more whose it was.
        if (!key || key.userId !== undefined) concerns(key?.userId);
      },
      () => concerns(),
    );
  }

  /** Who counts no more hears no more; who does may see something else now. */
  #prove(which: (listener: Listener) => boolean): void {
    const { callers, streams, mcp } = this.#parts;
    for (const listener of [...streams.all()].filter(which)) {
      callers.again(listener.headers, listener.slug).then(
        (caller) => {
          if (!caller) return streams.end((one) => one === listener);
          listener.caller = caller;
          listener.isRuleDue = true;
          this.soon(listener);
        },
        (error) => {
          // It could not be asked: it comes back when it can.
          mcp.world.log.warn("mcp.listener_not_proved", { error });
          streams.end((one) => one === listener);
        },
      );
    }
  }

  #due(which: (listener: Listener) => boolean, isRuleDue = false): void {
    let any = false;
    for (const listener of this.#parts.streams.all()) {
      if (!which(listener)) continue;
      any = true;
      mark(listener);
      listener.isRuleDue ||= isRuleDue;
    }
    if (any) this.#schedule(this.#gatherMs);
  }

  #schedule(inMs: number): void {
    if (this.#closed) return;
    if (this.#running) this.#again = true;
    else
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        void this.#run();
      }, inMs).unref();
  }

  async #run(): Promise<void> {
    this.#running = true;
    const wait = await this.#pass();
    this.#running = false;
    if (this.#closed) return;
    try {
      this.#parts.watches.settle();
    } catch (error) {
      this.#parts.mcp.world.log.error("mcp.lists_not_watched", { error });
    }
    const again = this.#again;
    this.#again = false;
    if (again || wait !== undefined) this.#schedule(again ? GATHER_MS : Math.max(wait!, GATHER_MS));
  }

  /** One look at everybody who is due. Resolves with when the next is due: milliseconds, or nobody. */
  async #pass(): Promise<number | undefined> {
    const now = performance.now();
    const due = [...this.#parts.streams.all()].filter(({ isDue }) => isDue);
    const ready = due.filter((listener) => this.#readyAt(listener) <= now);
    for (let at = 0; at < ready.length && !this.#closed; at += AT_ONCE) {
      await Promise.all(ready.slice(at, at + AT_ONCE).map((listener) => this.#look(listener)));
      // AV-22: ten thousand listeners do not hold up a call.
      await new Promise(setImmediate);
    }
    const times = [...this.#parts.streams.all()]
      .filter(({ isDue }) => isDue)
      .map((one) => this.#readyAt(one));
    return times.length === 0 ? undefined : Math.min(...times) - performance.now();
  }

  #readyAt({ dueSince, dueAgain, notBefore }: Listener): number {
    return Math.max(notBefore, Math.min(dueAgain + this.#gatherMs, dueSince + LONGEST_MS));
  }

  async #look(listener: Listener): Promise<void> {
    listener.isDue = false;
    const { seen: before, retell } = listener;
    const isEarly = listener.dueAgain + this.#gatherMs > performance.now();
    try {
      const seen = await this.#parts.seen.of(listener);
      listener.seen = seen;
      const changed = listenedTo(listener).filter(
        (kind) => (before && before[kind] !== seen[kind]) || retell.includes(kind),
      );
      for (const kind of changed) listener.send({ method: methods[kind] });
      if (changed.length > 0) listener.notBefore = performance.now() + PAUSE_MS;
      listener.retell = isEarly ? changed : [];
      if (isEarly && changed.length > 0) mark(listener);
      this.#parts.followed.settle(listener);
    } catch (error) {
      this.#parts.mcp.world.log.warn("mcp.lists_not_compared", { error });
      mark(listener);
      listener.isRuleDue = true;
      listener.notBefore = performance.now() + PAUSE_MS;
    }
  }
}

function mark(listener: Listener): void {
  listener.dueAgain = performance.now();
  if (!listener.isDue) listener.dueSince = listener.dueAgain;
  listener.isDue = true;
}

function listenedTo({ wants }: Listener): ListKind[] {
  return listKinds.filter((kind) => wants.has(kind));
}

/** What of an upstream can show in anybody's lists; how it is doing does not. The first character: whether it is for all. */
function shapeOf(upstream: Upstream): string {
  const { state: _, lastFailure: _f, toolsSyncedAt: _s, updatedAt: _u, ...shown } = upstream;
  return `${upstream.allowOnAllVirtualKeys ? "+" : "-"}${sha256(stringifyJson(shown))}`;
}
