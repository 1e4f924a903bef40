import { AsyncLocalStorage } from "node:async_hooks";
import { type Kysely, sql, type Transaction } from "kysely";
import { type Log, Problem } from "../base/index.ts";
import type { Bell } from "./bell.ts";
import type { Tables } from "./tables.ts";

/**
 * What changed, in the word of the cache that must drop it: `credential`, `grant`, `virtual_key`, `upstream`, …; with the
 * topic `everything`, more than could be told one by one.
 */
export interface Change {
  topic: string;
  key: string;
}

/** The topic of "whatever you remember may be wrong": each cache takes it for its own. */
export const EVERYTHING = "everything";

interface Noted extends Change {
  at: number;
}

/** How often the table is read while notifications are not known to come, and while they are. */
const POLL_MS = { alone: 500, besideBell: 800 };
const POLL_BATCH = 1000;
/**
 * Cut off from the database for so long, a replica forgets what it knows of grants and keys: somewhere else they may have
 * been revoked.
 */
const CUT_OFF_MS = 5 * 60_000;

/**
 * Tells caches, here and on other replicas, what to drop. In this process listeners run right after the commit. Other
 * replicas read the table `changes`, which with its counter is the truth: when a bell rings, and now and then in any case,
 * so that a revocation is known everywhere within a second.
 */
export class Changes {
  readonly #db: Kysely<Tables>;
  readonly #kind: "sqlite" | "postgres";
  readonly #log: Log;
  /** By topic and key: what one transaction notes twice is told once. */
  readonly #inside = new AsyncLocalStorage<Map<string, Noted>>();
  readonly #listeners: ((change: Change) => void)[] = [];
  #bell: Bell | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isFollowing = false;
  #seen = 0;
  #pulling: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #pulledAt = performance.now();

  constructor(db: Kysely<Tables>, kind: "sqlite" | "postgres", log: Log) {
    this.#db = db;
    this.#kind = kind;
    this.#log = log;
  }

  get collecting(): boolean {
    return this.#inside.getStore() !== undefined;
  }

  /** Notes a change in the transaction that causes it. `at`: milliseconds, for the sweeper. */
  async note(_tx: Transaction<Tables>, topic: string, key: string, at: number): Promise<void> {
    const noted = this.#inside.getStore();
    if (!noted) throw new Error("a change noted outside of Database.transaction would be told to nobody");
    noted.set(`${topic} ${key}`, { topic, key, at });
  }

  listen(listener: (change: Change) => void): void {
    this.#listeners.push(listener);
  }

  /**
   * Runs a transaction, which calls `write` as its last statement, and once it has committed tells this process's listeners
   * what it noted.
   */
  async collect<T>(work: (write: (tx: Transaction<Tables>) => Promise<void>) => Promise<T>): Promise<T> {
    if (this.collecting) throw new Error("a transaction inside a transaction; hand the tx down instead");
    const noted = new Map<string, Noted>();
    const write = writers[this.#kind];
    const result = await this.#inside.run(noted, () => work((tx) => write(tx, [...noted.values()])));
    for (const { topic, key } of noted.values()) this.#tell({ topic, key });
    if (noted.size > 0) this.#bell?.ring();
    return result;
  }

  /**
   * Remembers where the changes stand, before any cache is filled: what another replica changes while this one is still
   * starting must not fall between the two.
   */
  async begin(): Promise<void> {
    const { value } = await this.#db.selectFrom("change_counter").select("value").executeTakeFirstOrThrow();
    this.#seen = value;
  }

  /** Who wakes it before its time; before `follow`. */
  follows(bell: Bell): void {
    this.#bell = bell;
  }

  /** Starts following other replicas, from where `begin` was. Only Postgres can have them. */
  follow(): void {
    this.#isFollowing = true;
    this.#bell?.start(() => void this.#pullQuietly());
    this.#schedule();
  }

  /** Whether a change is known to all others within milliseconds, as far as this replica can tell. */
  get reachesAll(): boolean {
    return this.#bell?.reachesAll === true;
  }

  async stop(): Promise<void> {
    this.#isFollowing = false;
    clearTimeout(this.#timer);
    await this.#bell?.stop();
  }

  /** Reads what came since the last pull and tells the listeners: at least everything committed before the call. */
  pull(): Promise<void> {
    if (!this.#pulling) {
      this.#pulling = this.#pullAll().finally(() => {
        this.#pulling = undefined;
      });
      return this.#pulling;
    }
    // What runs may have looked already.
    this.#next ??= this.#pulling
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.pull();
      });
    return this.#next;
  }

  /** The database answers again: what happened meanwhile is read at once. */
  reconnected(): void {
    if (!this.#isFollowing) return;
    // It may have been a transaction that found out; what follows is not part of it.
    this.#inside.exit(() => {
      this.#bell?.reconnect();
      void this.#pullQuietly();
    });
  }

  #schedule(): void {
    const after = this.#bell?.works ? POLL_MS.besideBell : POLL_MS.alone;
    this.#timer = setTimeout(() => {
      void this.#pullQuietly().then(() => {
        if (this.#isFollowing) this.#schedule();
      });
    }, after);
    this.#timer.unref();
  }

  async #pullQuietly(): Promise<void> {
    try {
      await this.pull();
      this.#pulledAt = performance.now();
    } catch (error) {
      if (!this.#isFollowing) return;
      // That the database is away is said once, by its connections.
      if (error instanceof Problem) this.#log.debug("changes.poll_failed", { error });
      else this.#log.warn("changes.poll_failed", { error });
      if (performance.now() - this.#pulledAt < CUT_OFF_MS) return;
      this.#pulledAt = performance.now();
      this.#tellEverything("cut_off");
    }
  }

  async #pullAll(): Promise<void> {
    // "All of an upstream" can be many changes at once: none of them waits for the next turn.
    while ((await this.#pullBatch()) === POLL_BATCH);
  }

  /** Sequence numbers have no gaps, so a gap is something that was swept before it was read here. */
  async #pullBatch(): Promise<number> {
    const rows = await this.#db
      .selectFrom("change_counter")
      .leftJoin("changes", (join) => join.on("changes.seq", ">", this.#seen))
      .select(["change_counter.value", "changes.seq", "changes.topic", "changes.key"])
      .orderBy("changes.seq")
      .limit(POLL_BATCH)
      .execute();
    const { value = this.#seen } = rows[0] ?? {};
    const told = rows.filter((row) => row.seq !== null);
    const hasGap = told.length > 0 ? isGapped(this.#seen, told) : value !== this.#seen;
    if (hasGap) {
      this.#seen = value;
      this.#tellEverything("swept");
      return 0;
    }
    for (const { seq, topic, key } of told) {
      this.#seen = seq!;
      this.#tell({ topic: topic!, key: key! });
    }
    return told.length;
  }

  #tellEverything(why: string): void {
    this.#log.warn("changes.everything_dropped", { why });
    this.#tell({ topic: EVERYTHING, key: "" });
  }

  #tell(change: Change): void {
    for (const listener of this.#listeners) listener(change);
  }
}

function isGapped(seen: number, rows: readonly { seq: number | null }[]): boolean {
  return rows.some(({ seq }, at) => seq !== seen + 1 + at);
}

type Writer = (tx: Transaction<Tables>, noted: readonly Noted[]) => Promise<void>;

/**
 * The last statement of a transaction. The lock on the counter keeps sequence numbers in the order of commits, and everybody
 * who notes something waits for it: on Postgres it is one trip, right before the commit.
 */
const writers: Record<"sqlite" | "postgres", Writer> = {
  postgres: async (tx, noted) => {
    if (noted.length === 0) return;
    await sql`
      with counter as (
        update change_counter set value = value + ${noted.length} where id = 1
        returning value - ${noted.length} as before
      )
      insert into changes (seq, topic, key, at)
      select counter.before + noted.place, noted.topic, noted.key, noted.at
      from counter, json_to_recordset(${placed(noted)}::json)
        as noted (place bigint, topic text, key text, at bigint)
    `.execute(tx);
  },
  sqlite: async (tx, noted) => {
    if (noted.length === 0) return;
    const { value } = await tx
      .updateTable("change_counter")
      .set((row) => ({ value: row("value", "+", noted.length) }))
      .where("id", "=", 1)
      .returning("value")
      .executeTakeFirstOrThrow();
    await sql`
      insert into changes (seq, topic, key, at)
      select ${value - noted.length} + (value ->> 'place'), value ->> 'topic', value ->> 'key', value ->> 'at'
      from json_each(${placed(noted)})
    `.execute(tx);
  },
};

function placed(noted: readonly Noted[]): string {
  return JSON.stringify(noted.map((change, at) => ({ ...change, place: at + 1 })));
}
