import { newId, type Seal, type World } from "../base/index.ts";
import type { Database, Db, Tx } from "./open.ts";

/** Delivers one entry. True: done (also when it can never succeed). False or a throw: again later. */
export type Deliver = (payload: Record<string, string>, subject: string) => Promise<boolean>;

const MAX_AGE_MS = 24 * 60 * 60 * 1000;
const FIRST_RETRY_MS = 5_000;
const LONGEST_RETRY_MS = 60 * 60 * 1000;
const CLAIM_MS = 60_000;
const BATCH = 20;

/**
 * Effects at other systems that follow a local change (attack rule R29). The entry is written in the transaction of the
 * change; delivery is tried for 24 hours with back-off and never delays or undoes the change.
 */
export class Outbox {
  readonly #world: World;
  readonly #seal: Seal;
  readonly #deliver = new Map<string, Deliver>();

  constructor(world: World, seal: Seal) {
    this.#world = world;
    this.#seal = seal;
  }

  /** `kind` names who delivers it. Called once per kind, in app.ts or by the owning folder. */
  handle(kind: string, deliver: Deliver): void {
    this.#deliver.set(kind, deliver);
  }

  async put(tx: Db | Tx, kind: string, subject: string, payload: Record<string, string>): Promise<void> {
    const now = this.#world.now().getTime();
    const id = newId(this.#world, "out");
    const sealed = this.#seal.seal(JSON.stringify(payload), ["outbox", id, kind]);
    await tx
      .insertInto("outbox")
      .values({ id, kind, subject, sealed, attempts: 0, next_at: now, created_at: now })
      .execute();
  }

  /** Tries every due entry once. Safe to call on several replicas: an entry is claimed before it is tried. */
  async run(database: Database): Promise<void> {
    const now = this.#world.now().getTime();
    const due = await database.db
      .selectFrom("outbox")
      .selectAll()
      .where("next_at", "<=", now)
      .orderBy("next_at")
      .limit(BATCH)
      .execute();
    await Promise.all(due.map((entry) => this.#try(database.db, entry, now)));
  }

  async #try(
    db: Db,
    entry: {
      id: string;
      kind: string;
      subject: string;
      sealed: Uint8Array;
      attempts: number;
      next_at: number;
      created_at: number;
    },
    now: number,
  ): Promise<void> {
    const claimed = await db
      .updateTable("outbox")
      .set({ next_at: now + CLAIM_MS, attempts: entry.attempts + 1 })
      .where("id", "=", entry.id)
      .where("next_at", "=", entry.next_at)
      .executeTakeFirst();
    if (claimed.numUpdatedRows === 0n) return;
    if ((await this.#delivered(entry)) || now - entry.created_at > MAX_AGE_MS) {
      await db.deleteFrom("outbox").where("id", "=", entry.id).execute();
      return;
    }
    const delay = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** entry.attempts);
    await db
      .updateTable("outbox")
      .set({ next_at: now + delay })
      .where("id", "=", entry.id)
      .execute();
  }

  async #delivered(entry: {
    id: string;
    kind: string;
    subject: string;
    sealed: Uint8Array;
  }): Promise<boolean> {
    const deliver = this.#deliver.get(entry.kind);
    try {
      const payload = JSON.parse(this.#seal.openText(entry.sealed, ["outbox", entry.id, entry.kind]));
      return deliver ? await deliver(payload, entry.subject) : false;
    } catch (error) {
      this.#world.log.warn("outbox.delivery_failed", { kind: entry.kind, subject: entry.subject, error });
      return false;
    }
  }
}
