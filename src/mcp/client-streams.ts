import { type Log, Problem, type World } from "../base/index.ts";
import type { Changes } from "../db/index.ts";
import type { Notification } from "../relay/index.ts";
import type { Caller } from "./caller.ts";
import type { Client } from "./era.ts";
import { EventLine } from "./event-line.ts";

/** Streams one caller may have open, and all together. */
const MAX_OF_CALLER = 32;
const MAX_OPEN = 10_000;
const KEEP_ALIVE_MS = 15_000;
/** How long a stream that broke can be taken up again. */
const RESUMABLE_MS = 5 * 60_000;

/** Whose stream it is. */
export interface Listener {
  caller: Caller;
  client: Client;
}

interface Held extends Listener {
  line: EventLine;
  brokeAt?: number;
}

/**
 * The streams that clients before 2026-07-28 keep open with GET, for what belongs to no call. One per session: a new one
 * takes the place of the old. A stream that broke is resumed by its owner, in the same session, on this replica; otherwise
 * a new one begins.
 */
export class ClientStreams {
  readonly #world: Pick<World, "now" | "random">;
  readonly #log: Log;
  /** By binding and session. */
  readonly #held = new Map<string, Held>();
  readonly #keepAlive: NodeJS.Timeout;
  #closed = false;

  constructor({ world, database }: { world: World; database: { changes: Changes } }) {
    this.#world = world;
    this.#log = world.log;
    this.#keepAlive = setInterval(() => this.#tick(), KEEP_ALIVE_MS).unref();
    // A credential that ended ends its streams; who may still call opens another.
    database.changes.listen(({ topic, key }) => {
      if (topic === "grant" || topic === "virtual_key") {
        const binding = topic === "grant" ? `grant:${key}` : `vk:${key}`;
        this.#end(({ caller }) => caller.binding === binding);
      } else if (topic === "user") {
        this.#end(({ caller: { owner } }) => owner.mode === "user" && owner.id === key);
      }
    });
  }

  get size(): number {
    return this.#held.size;
  }

  /** Opens or resumes the stream of a session. Throws 429 when the caller has too many. */
  open(
    listener: Listener,
    lastEventId: string | null,
    options: { broken?(): void; highWater?: number } = {},
  ): { body: ReadableStream<Uint8Array>; line: EventLine } {
    const { caller, client } = listener;
    const key = `${caller.binding} ${client.session}`;
    const known = this.#held.get(key);
    if (!known) this.#admit(caller);
    // MC-15: the id of another stream, another session or another caller finds nothing here.
    const seen = known && lastEventId !== null ? known.line.positionOf(lastEventId) : undefined;
    known?.line.close();
    const name = Buffer.from(this.#world.random(16)).toString("base64url");
    const line = seen === undefined ? new EventLine(name, options.highWater) : known!.line;
    const held: Held = { caller, client, line };
    this.#held.set(key, held);
    const body = line.open(() => {
      held.brokeAt = this.#world.now().getTime();
      options.broken?.();
    });
    // 2025-11-25: a first event with an id and no data, so that there is something to resume from. Older ones would trip.
    if (seen !== undefined) line.replay(seen);
    else if (client.version === "2025-11-25") line.prime();
    if (this.#closed) line.close();
    return { body, line };
  }

  /** To every listener that `concerns` names; who does not read loses the stream, not the gateway its memory. */
  send(concerns: (listener: Listener) => boolean, notification: Notification): void {
    for (const held of this.#held.values()) if (concerns(held)) held.line.send(notification);
  }

  /** A session ended: so does its stream. */
  endSession(session: string): void {
    this.#end(({ client }) => client.session === session);
  }

  /** The process stops: clients are to come back elsewhere. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#keepAlive);
    this.#end(() => true);
  }

  #admit({ binding }: Caller): void {
    const own = [...this.#held.values()].filter(({ caller }) => caller.binding === binding).length;
    if (own < MAX_OF_CALLER && this.#held.size < MAX_OPEN) return;
    const message = "Too many streams are open already. Close some of them, or end their sessions.";
    throw new Problem("too_many", "too_many_streams", message, { retryAfter: 60 });
  }

  #end(which: (held: Held) => boolean): void {
    for (const [key, held] of this.#held) {
      if (!which(held)) continue;
      held.line.close();
      this.#held.delete(key);
    }
  }

  #tick(): void {
    const before = this.#world.now().getTime() - RESUMABLE_MS;
    for (const [key, held] of this.#held) {
      if (held.brokeAt === undefined) held.line.keepAlive();
      else if (held.brokeAt <= before) this.#held.delete(key);
    }
    this.#log.debug("mcp.streams_kept", { open: this.#held.size });
  }
}
