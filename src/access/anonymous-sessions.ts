import { sql } from "kysely";
import type { Log, Owner, World } from "../base/index.ts";
import { type Database, deleteInBatches, inBatches, type Tx } from "../db/index.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
/** Contract section 1: so long without use ends an anonymous session. */
const IDLE_MS = 30 * DAY_MS;
/** The sweep waits a little longer: another replica may hold a use that it has not written yet. */
const SLACK_MS = 60_000;
const MOST_ENTRIES = 20_000;
const BATCH = 200;
const PREFIX = "anon_";

export interface AnonymousSessionsParts {
  world: World;
  database: Database;
  /** Drops all that the session has and tells the providers; the vault's, handed over in app.ts. */
  drop(tx: Tx, owner: Owner): Promise<unknown>;
  log: Log;
}

/**
 * The identities behind `x-bf-mcp-session-id` values: when each was last used, and its end. Only one that has a credential
 * is written down: values cost nothing to make up, and without a credential there is nothing to end.
 */
export class AnonymousSessions {
  readonly #parts: AnonymousSessionsParts;
  /** Last uses that this process saw, in milliseconds. */
  readonly #seen = new Map<string, number>();
  /** Those of them that are not written yet. */
  readonly #unwritten = new Map<string, number>();

  constructor(parts: AnonymousSessionsParts) {
    this.#parts = parts;
  }

  /** To be called with every use, before anything is done for it: what was left alone for too long is ended first. */
  async used(id: string): Promise<void> {
    const now = this.#now();
    const last = this.#seen.get(id);
    if (last === undefined || now - last >= IDLE_MS) await this.#endIfIdle(id, now - IDLE_MS);
    if (this.#seen.size >= MOST_ENTRIES) this.#seen.clear();
    this.#seen.set(id, now);
    // Made-up values by the thousand are not worth the memory; a session in use comes again.
    if (this.#unwritten.size < MOST_ENTRIES) this.#unwritten.set(id, now);
  }

  /** Writes the last uses; jobs.ts calls it now and then, and once at the end. */
  async flush(): Promise<void> {
    const used = [...this.#unwritten];
    for (let from = 0; from < used.length; from += BATCH) {
      const batch = used.slice(from, from + BATCH);
      await this.#write(batch);
      // Used again meanwhile it is written next time; so is what could not be written now.
      for (const [id, at] of batch) if (this.#unwritten.get(id) === at) this.#unwritten.delete(id);
    }
  }

  async #write(used: readonly [string, number][]): Promise<void> {
    const { db } = this.#parts.database;
    const holders = await db
      .selectFrom("credentials")
      .select("owner_id")
      .distinct()
      .where("owner_mode", "=", "session")
      .where(
        "owner_id",
        "in",
        used.map(([id]) => id),
      )
      .execute();
    const holding = new Set(holders.map((row) => row.owner_id));
    const rows = used.filter(([id]) => holding.has(id)).map(([id, at]) => ({ id, last_used_at: at }));
    if (rows.length === 0) return;
    await db
      .insertInto("anonymous_sessions")
      .values(rows)
      .onConflict((conflict) =>
        conflict
          .column("id")
          .doUpdateSet((row) => ({ last_used_at: row.ref("excluded.last_used_at") }))
          // Another replica's later use stays.
          .whereRef("anonymous_sessions.last_used_at", "<", "excluded.last_used_at"),
      )
      .execute();
  }

  /** For jobs.ts, safe on several replicas: ends what nobody used for 30 days. */
  async sweep(): Promise<void> {
    const before = this.#now() - IDLE_MS - SLACK_MS;
    await inBatches(async () => {
      const idle = await this.#idle(before);
      for (const id of idle) await this.#endIfIdle(id, before);
      return idle.length;
    }, BATCH);
    const where = sql<boolean>`last_used_at <= ${before}`;
    await deleteInBatches(this.#parts.database, { table: "anonymous_sessions", key: "id", where });
  }

  async #idle(before: number): Promise<string[]> {
    const rows = await this.#parts.database.db
      .selectFrom("credentials")
      .leftJoin("anonymous_sessions", "anonymous_sessions.id", "credentials.owner_id")
      .select("credentials.owner_id")
      .where("owner_mode", "=", "session")
      .where("owner_id", "like", `${PREFIX}%`)
      .where((or) => or.or([or("last_used_at", "is", null), or("last_used_at", "<=", before)]))
      .groupBy("credentials.owner_id")
      .having(lastConnected, "<=", before)
      .limit(BATCH)
      .execute();
    return rows.map((row) => row.owner_id);
  }

  /** Asks again inside the transaction: a use or a new credential may have come in between. */
  async #endIfIdle(id: string, before: number): Promise<void> {
    const { database, log } = this.#parts;
    if ((await lastUse(database.db, id)) > before) return;
    await database.transaction(async (tx) => {
      const last = await lastUse(tx, id);
      if (last > before) return;
      await this.#parts.drop(tx, { mode: "session", id });
      await tx.deleteFrom("anonymous_sessions").where("id", "=", id).execute();
      log.info("anonymous_session.ended", { session: id });
    });
  }

  #now(): number {
    return this.#parts.world.now().getTime();
  }
}

/** Connecting and renewing happen because somebody uses the session. */
const lastConnected = sql<number>`max(coalesce(credentials.last_refreshed_at, credentials.created_at))`;

/** When the session was last used, in milliseconds; never in the past when it has nothing to end. */
async function lastUse(db: Database["db"] | Tx, id: string): Promise<number> {
  const connected = await db
    .selectFrom("credentials")
    .select(lastConnected.as("at"))
    .where("owner_mode", "=", "session")
    .where("owner_id", "=", id)
    .executeTakeFirst();
  if (connected?.at == null) return Number.POSITIVE_INFINITY;
  const written = await db
    .selectFrom("anonymous_sessions")
    .select("last_used_at")
    .where("id", "=", id)
    .executeTakeFirst();
  return Math.max(written?.last_used_at ?? 0, Number(connected.at));
}
