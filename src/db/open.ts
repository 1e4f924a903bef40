import { randomUUID } from "node:crypto";
import { Kysely, type KyselyPlugin, sql, type Transaction } from "kysely";
import type { Log, World } from "../base/index.ts";
import { Bell } from "./bell.ts";
import { Changes } from "./changes.ts";
import { insertMany, type Values } from "./insert-many.ts";
import { Leases } from "./leases.ts";
import { migrate, refuseNewerSchema } from "./migrate.ts";
import { everybodyListens, migratePostgres, openPostgres, type Postgres } from "./postgres.ts";
import { openSqlite } from "./sqlite.ts";
import type { NewRow, Tables } from "./tables.ts";
import { Transactions } from "./transactions.ts";

/** The handle outside transactions. */
export type Db = Kysely<Tables>;
/** Inside `transaction(…)`: everything that must happen together goes through this one. */
export type Tx = Transaction<Tables>;

export interface Database {
  readonly kind: "sqlite" | "postgres";
  readonly db: Db;
  readonly changes: Changes;
  readonly leases: Leases;
  /**
   * Runs `work` in one transaction; a thrown error rolls back. Changes noted inside reach this process's listeners before it
   * returns. Where another transaction stood in its way `work` runs again, so it changes nothing but through its `tx`.
   */
  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T>;
  /**
   * Until the transaction ends, nobody else gets past here with the same name: for rules that a row not yet there cannot
   * be locked for. SQLite has one writer anyway.
   */
  hold(tx: Tx, name: readonly string[]): Promise<void>;
  /**
   * Inserts all rows or none, except those that are there already: who does not know whether it was done does it again. For
   * what is written by the thousand, where a statement built for each would cost more than the row. The values are in the order of `columns`. Not inside a transaction.
   */
  insertMany<T extends keyof Tables & string>(
    table: T,
    columns: readonly (keyof NewRow<T> & string)[],
    rows: readonly Values[],
  ): Promise<void>;
  /** Whether the database answers within a second. */
  ready(): Promise<boolean>;
  close(): Promise<void>;
}

const POOL_SIZE = 10;

export interface DatabaseOptions {
  reach?: World["reach"];
  /** Runs before anything is written, also by a migration; a throw closes again. */
  check?(db: Db, kind: Database["kind"]): Promise<void>;
  /** Connections to Postgres for statements. */
  poolSize?: number;
}

/**
 * Opens and migrates `sqlite:<path>` (or `sqlite::memory:`) or `postgres://…`. Throws what the driver throws when it cannot,
 * `NewerSchema` where a newer version was here before.
 */
export async function openDatabase(url: string, log: Log, options: DatabaseOptions = {}): Promise<Database> {
  const { reach = () => {}, check, poolSize = POOL_SIZE } = options;
  const kind = url.startsWith("sqlite:") ? "sqlite" : "postgres";
  const name = randomUUID();
  const sqlite = kind === "sqlite" ? openSqlite(url.slice("sqlite:".length)) : undefined;
  const postgres = sqlite ? undefined : openPostgres(url, log, { replica: name, poolSize });
  const handle = new Kysely<Tables>({ dialect: sqlite?.dialect ?? postgres!.dialect });
  const changes = new Changes(handle, kind, log);
  try {
    await refuseNewerSchema(handle);
    await check?.(handle, kind);
    if (sqlite) await migrate(handle, kind, reach);
    else await migratePostgres(url, log, (db) => migrate(db, kind, reach));
    await changes.begin();
  } catch (error) {
    await handle.destroy();
    throw error;
  }
  const transactions = new Transactions(handle, changes, log);
  if (postgres) changes.follows(bellOf(postgres, handle, name, log));
  postgres?.lines.recovered.push(() => changes.reconnected());
  return {
    kind,
    db: handle.withPlugin(refuseInsideTransaction(changes)),
    changes,
    leases: new Leases(handle, kind, name),
    transaction: (work) => transactions.run(work),
    hold: async (tx, name) => {
      if (kind === "sqlite") return;
      await sql`select pg_advisory_xact_lock(hashtextextended(${JSON.stringify(name)}, 0))`.execute(tx);
    },
    insertMany: (table, columns, rows) => insertMany(handle, sqlite, { table, columns, rows }),
    ready: () => isReady(handle, kind),
    close: async () => {
      await changes.stop();
      await handle.destroy();
    },
  };
}

function bellOf({ listener }: Postgres, handle: Db, name: string, log: Log): Bell {
  const notify = (channel: string, payload: string) =>
    sql`select pg_notify(${channel}, ${payload})`.execute(handle);
  return new Bell({
    connect: listener,
    notify,
    everybodyListens: () => everybodyListens(handle),
    name,
    log,
  });
}

/** On SQLite a query on the outer handle inside a transaction would wait for itself for ever; on both it is a bug. */
function refuseInsideTransaction(changes: Changes): KyselyPlugin {
  return {
    transformQuery: ({ node }) => {
      if (changes.collecting) throw new Error("a query on the outer handle inside a transaction; use the tx");
      return node;
    },
    transformResult: async ({ result }) => result,
  };
}

async function isReady(db: Db, kind: Database["kind"]): Promise<boolean> {
  const probe =
    kind === "sqlite"
      ? db.selectFrom("change_counter").select("value").execute()
      : sql<{ value: string }>`select current_setting('transaction_read_only') as value`
          .execute(db)
          .then(({ rows }) => rows[0]?.value === "off");
  const late = new Promise<false>((resolve) => setTimeout(() => resolve(false), 1000).unref());
  return Promise.race([probe.then((isWritable) => isWritable !== false), late]).catch(() => false);
}
