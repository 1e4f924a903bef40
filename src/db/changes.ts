import { AsyncLocalStorage } from "node:async_hooks";
import type { Kysely, Transaction } from "kysely";
import type { Log } from "../base/index.ts";
import type { Tables } from "./tables.ts";

/** What changed, in the word of the cache that must drop it: `credential`, `grant`, `virtual_key`, `upstream`, … */
export interface Change {
  topic: string;
  key: string;
}

const POLL_MS = 500;
const POLL_BATCH = 1000;

/**
 * Tells caches, here and on other replicas, what to drop. In this process listeners run right after the commit; other
 * replicas poll the table twice a second, so a revocation is known everywhere within a second.
 */
export class Changes {
  readonly #db: Kysely<Tables>;
  readonly #log: Log;
  readonly #inside = new AsyncLocalStorage<Change[]>();
  readonly #listeners: ((change: Change) => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #seen = 0;

  constructor(db: Kysely<Tables>, log: Log) {
    this.#db = db;
    this.#log = log;
  }

  get collecting(): boolean {
    return this.#inside.getStore() !== undefined;
  }

  /** Notes a change in the transaction that causes it. `at`: milliseconds, for the sweeper. */
  async note(tx: Transaction<Tables>, topic: string, key: string, at: number): Promise<void> {
    // The row lock on the counter is held until commit, so sequence numbers become visible in order: none is skipped.
    const { value } = await tx
      .updateTable("change_counter")
      .set((row) => ({ value: row("value", "+", 1) }))
      .where("id", "=", 1)
      .returning("value")
      .executeTakeFirstOrThrow();
    await tx.insertInto("changes").values({ seq: value, topic, key, at }).execute();
    this.#inside.getStore()?.push({ topic, key });
  }

  listen(listener: (change: Change) => void): void {
    this.#listeners.push(listener);
  }

  /** Runs a transaction and, once it has committed, tells this process's listeners what it noted. */
  async collect<T>(work: () => Promise<T>): Promise<T> {
    if (this.collecting) throw new Error("a transaction inside a transaction; hand the tx down instead");
    const noted: Change[] = [];
    const result = await this.#inside.run(noted, work);
    for (const change of noted) this.#tell(change);
    return result;
  }

  /**
   * Remembers where the changes stand, before any cache is filled: what another replica changes while this one is still
   * starting must not fall between the two.
   */
  async begin(): Promise<void> {
    this.#seen = await this.#current();
  }

  /** Starts following other replicas, from where `begin` was. Only Postgres can have them. */
  follow(): void {
    this.#timer = setInterval(() => {
      this.pull().catch((error) => this.#log.warn("changes.poll_failed", { error }));
    }, POLL_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Reads what came since the last pull and tells the listeners. */
  async pull(): Promise<void> {
    // "All of an upstream" can be many changes at once: none of them waits for the next turn.
    while ((await this.#pullBatch()) === POLL_BATCH);
  }

  async #pullBatch(): Promise<number> {
    const rows = await this.#db
      .selectFrom("changes")
      .select(["seq", "topic", "key"])
      .where("seq", ">", this.#seen)
      .orderBy("seq")
      .limit(POLL_BATCH)
      .execute();
    for (const { seq, topic, key } of rows) {
      this.#seen = Math.max(this.#seen, seq);
      this.#tell({ topic, key });
    }
    return rows.length;
  }

  async #current(): Promise<number> {
    const { value } = await this.#db.selectFrom("change_counter").select("value").executeTakeFirstOrThrow();
    return value;
  }

  #tell(change: Change): void {
    for (const listener of this.#listeners) listener(change);
  }
}
