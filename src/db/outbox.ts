import { newId, type Seal, type World } from "../base/index.ts";
import { inBatches } from "./batches.ts";
import type { Database, Db, Tx } from "./open.ts";
import type { Row } from "./tables.ts";

type Payload = Record<string, string>;

/** What one attempt came to, `outcome` in a word. `done`: no further attempt, because it succeeded or never can. */
export interface Delivery {
  done: boolean;
  outcome: string;
}

/** How an entry ended. `payload` is absent when it no longer opens. */
export interface Settled extends Delivery {
  subject: string;
  attempts: number;
  payload: Payload | undefined;
}

/** Who delivers entries of one kind. A throw counts as `done: false`. */
export interface Deliverer {
  deliver(payload: Payload): Promise<Delivery>;
  /** Runs in the transaction that removes the entry, delivered (`done`) or given up, so that it happens exactly once. */
  settled?(tx: Tx, settled: Settled): Promise<void>;
}

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
  readonly #deliverers = new Map<string, Deliverer>();

  constructor(world: World, seal: Seal) {
    this.#world = world;
    this.#seal = seal;
  }

  /** `kind` names who delivers it. Called once per kind, in app.ts or by the owning folder. */
  handle(kind: string, deliverer: Deliverer): void {
    this.#deliverers.set(kind, deliverer);
  }

  async put(tx: Db | Tx, kind: string, subject: string, payload: Payload): Promise<void> {
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
    await inBatches(() => this.#some(database, now), BATCH);
  }

  async #some(database: Database, now: number): Promise<number> {
    const due = await database.db
      .selectFrom("outbox")
      .selectAll()
      .where("next_at", "<=", now)
      .orderBy("next_at")
      .limit(BATCH)
      .execute();
    await Promise.all(due.map((entry) => this.#try(database, entry, now)));
    return due.length;
  }

  async #try(database: Database, entry: Row<"outbox">, now: number): Promise<void> {
    const attempts = entry.attempts + 1;
    const claimed = await database.db
      .updateTable("outbox")
      .set({ next_at: now + CLAIM_MS, attempts })
      .where("id", "=", entry.id)
      .where("next_at", "=", entry.next_at)
      .executeTakeFirst();
    if (claimed.numUpdatedRows === 0n) return;
    this.#world.reach("deliver.1.claimed");
    const payload = this.#open(entry);
    const delivery = await this.#deliver(entry, payload);
    this.#world.reach("deliver.2.attempted");
    if (delivery.done || now - entry.created_at > MAX_AGE_MS) {
      await this.#settle(database, entry, { ...delivery, subject: entry.subject, attempts, payload });
      return;
    }
    const delay = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** entry.attempts);
    await database.db
      .updateTable("outbox")
      .set({ next_at: now + delay })
      .where("id", "=", entry.id)
      .execute();
  }

  async #settle(database: Database, entry: Row<"outbox">, settled: Settled): Promise<void> {
    await database.transaction(async (tx) => {
      const removed = await tx.deleteFrom("outbox").where("id", "=", entry.id).executeTakeFirst();
      this.#world.reach("deliver.3.entry_deleted");
      if (removed.numDeletedRows > 0n) await this.#deliverers.get(entry.kind)?.settled?.(tx, settled);
      this.#world.reach("deliver.4.settled");
    });
    this.#world.reach("deliver.5.committed");
  }

  #open(entry: Row<"outbox">): Payload | undefined {
    try {
      return JSON.parse(this.#seal.openText(entry.sealed, ["outbox", entry.id, entry.kind]));
    } catch (error) {
      this.#failed(entry, error);
      return undefined;
    }
  }

  async #deliver(entry: Row<"outbox">, payload: Payload | undefined): Promise<Delivery> {
    // A key that is missing from the configuration may come back within the day.
    if (!payload) return { done: false, outcome: "unreadable" };
    try {
      const deliverer = this.#deliverers.get(entry.kind);
      return deliverer ? await deliverer.deliver(payload) : { done: false, outcome: "unknown_kind" };
    } catch (error) {
      this.#failed(entry, error);
      return { done: false, outcome: "failed" };
    }
  }

  #failed({ kind, subject }: Row<"outbox">, error: unknown): void {
    this.#world.log.warn("outbox.delivery_failed", { kind, subject, error });
  }
}
