import {
  type JsonObject,
  newId,
  type Seal,
  type SealContext,
  stringifyJson,
  type World,
} from "../base/index.ts";
import type { Database } from "../db/index.ts";
import type { Caller } from "./caller.ts";

/** A task that was over when it was made. */
export interface FinishedTask {
  /** Without an id: it is kept under one, and shown under another. */
  task: JsonObject;
  result: JsonObject;
}

const MIN_MS = 60_000;
const USUAL_MS = 10 * 60_000;
const MAX_MS = 3_600_000;
const MAX_RESULT = 4 * 1024 * 1024;
const MAX_OF_CALLER = 256;
const PURPOSE = "finished_tasks";

/**
 * Results that a client of 2025-11-25 wanted as a task, where the upstream decides and answered at once: such a client reads
 * nothing but a task. Kept for a while, sealed for whoever called, and served by any replica.
 */
export class FinishedTasks {
  readonly #world: World;
  readonly #database: Database;
  readonly #seal: Seal;

  constructor({ world, database, seal }: { world: World; database: Database; seal: Seal }) {
    this.#world = world;
    this.#database = database;
    this.#seal = seal;
  }

  /** `ttl`: as asked for, in milliseconds. Undefined: the result is too large. */
  async keep(
    caller: Caller,
    result: JsonObject,
    ttl: unknown,
  ): Promise<{ own: string; task: JsonObject } | undefined> {
    const now = this.#world.now();
    const at = now.toISOString();
    const asked = typeof ttl === "number" ? Math.round(ttl) : USUAL_MS;
    const lives = Math.min(Math.max(asked, MIN_MS), MAX_MS);
    const status = result.isError === true ? "failed" : "completed";
    const task = { status, createdAt: at, lastUpdatedAt: at, ttl: lives };
    const text = stringifyJson({ task, result });
    if (text.length > MAX_RESULT) return undefined;
    await this.#makeRoom(caller);
    const own = newId(this.#world, "task");
    const sealed = this.#seal.seal(text, contextOf(caller, own));
    await this.#database.db
      .insertInto("finished_tasks")
      .values({ id: own, binding: caller.binding, sealed, expires_at: now.getTime() + lives })
      .execute();
    return { own, task };
  }

  async find(caller: Caller, own: string): Promise<FinishedTask | undefined> {
    const row = await this.#database.db
      .selectFrom("finished_tasks")
      .select("sealed")
      .where("id", "=", own)
      .where("expires_at", ">", this.#world.now().getTime())
      .executeTakeFirst();
    return row && this.#open(row.sealed, contextOf(caller, own));
  }

  /** Another caller's, or sealed with a key that is gone: none of this caller's. */
  #open(sealed: Uint8Array, context: SealContext): FinishedTask | undefined {
    try {
      return JSON.parse(this.#seal.openText(sealed, context));
    } catch {
      return undefined;
    }
  }

  /** A caller that keeps many loses those that would go first. */
  async #makeRoom({ binding }: Caller): Promise<void> {
    const { db } = this.#database;
    const beyond = db
      .selectFrom("finished_tasks")
      .select("id")
      .where("binding", "=", binding)
      .orderBy("expires_at", "desc")
      .orderBy("id")
      // SQLite knows no offset without a limit.
      .limit(MAX_OF_CALLER)
      .offset(MAX_OF_CALLER - 1);
    await db.deleteFrom("finished_tasks").where("id", "in", beyond).execute();
  }
}

function contextOf({ owner, binding }: Caller, id: string): SealContext {
  return [PURPOSE, id, owner.mode, owner.id, binding];
}
