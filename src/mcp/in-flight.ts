import { type Gone, sha256, type World } from "../base/index.ts";
import type { Database } from "../db/index.ts";
import { isObject, type Message } from "./body.ts";
import type { Caller } from "./caller.ts";
import type { Client } from "./era.ts";

interface Running {
  controller: AbortController;
  session: string | undefined;
  id: string | number;
}

const TOPIC = "call_cancelled";
/** Cancellations on their way to other replicas; more than that are lost, as a cancellation may be. */
const MAX_TELLING = 16;

/**
 * Calls of older clients under way on this replica, so that `notifications/cancelled` finds its own: the same caller and
 * the same session, never another's (MC-16). One that arrives where the call is not is told to the other replicas. Modern
 * clients cancel by closing.
 */
export class InFlight {
  readonly #parts: { world: Pick<World, "now" | "log">; database: Database };
  readonly #running = new Map<string, Running>();
  #telling = 0;

  constructor(parts: { world: Pick<World, "now" | "log">; database: Database }) {
    this.#parts = parts;
    parts.database.changes.listen(({ topic, key }) => {
      if (topic === TOPIC) this.#hear(key);
    });
  }

  /** A signal that also aborts on a cancellation; `done`, if there is one, must be called at the end. */
  track(caller: Caller, client: Client, id: string | number, gone: Gone): { signal: Gone; done?(): void } {
    if (client.sessionId === undefined) return { signal: gone };
    const key = keyOf(caller, client, id);
    const controller = new AbortController();
    const abort = () => controller.abort();
    gone.addEventListener("abort", abort);
    if (gone.aborted) abort();
    const running = { controller, session: client.session, id };
    this.#running.set(key, running);
    return {
      signal: controller.signal,
      done: () => {
        gone.removeEventListener("abort", abort);
        if (this.#running.get(key) === running) this.#running.delete(key);
      },
    };
  }

  /** Takes a notification; only cancellations mean something to us. */
  notify(caller: Caller, client: Client, { method, params }: Message): void {
    if (method !== "notifications/cancelled" || client.sessionId === undefined || !isObject(params)) return;
    const id = params.requestId;
    if (typeof id !== "string" && typeof id !== "number") return;
    const running = this.#running.get(keyOf(caller, client, id));
    if (running) running.controller.abort();
    else if (client.session !== undefined) this.#tell(client.session, id);
  }

  /** The name of a session is known to nobody but us, and was found under an id that only its own caller can use. */
  #tell(session: string, id: string | number): void {
    const { world, database } = this.#parts;
    // SQLite is one process: what is not here is nowhere.
    if (database.kind === "sqlite" || this.#telling >= MAX_TELLING) return;
    this.#telling += 1;
    database
      .transaction((tx) =>
        database.changes.note(tx, TOPIC, `${session} ${digestOf(id)}`, world.now().getTime()),
      )
      .catch((error) => world.log.warn("mcp.message_lost", { error }))
      .finally(() => (this.#telling -= 1));
  }

  #hear(key: string): void {
    for (const { controller, session, id } of this.#running.values())
      if (session !== undefined && key.startsWith(`${session} `) && key === `${session} ${digestOf(id)}`)
        controller.abort();
  }
}

function keyOf(caller: Caller, client: Client, id: string | number): string {
  return `${caller.binding} ${client.sessionId} ${typeof id} ${id}`;
}

function digestOf(id: string | number): string {
  return sha256(JSON.stringify(id));
}
