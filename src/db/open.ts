import { Kysely, type KyselyPlugin, sql, type Transaction } from "kysely";
import type { Log } from "../base/index.ts";
import { Changes } from "./changes.ts";
import { insertMany, type Values } from "./insert-many.ts";
import { migrate } from "./migrate.ts";
import { postgresDialect } from "./postgres.ts";
import { openSqlite } from "./sqlite.ts";
import type { NewRow, Tables } from "./tables.ts";

/** The handle outside transactions. */
export type Db = Kysely<Tables>;
/** Inside `transaction(…)`: everything that must happen together goes through this one. */
export type Tx = Transaction<Tables>;

export interface Database {
  readonly kind: "sqlite" | "postgres";
  readonly db: Db;
  readonly changes: Changes;
  /** Runs `work` in one transaction; a thrown error rolls back. Changes noted inside reach this process's listeners before it returns. */
  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T>;
  /**
   * Until the transaction ends, nobody else gets past here with the same name: for rules that a row not yet there cannot
   * be locked for. SQLite has one writer anyway.
   */
  hold(tx: Tx, name: readonly string[]): Promise<void>;
  /**
   * Inserts all rows or none; for what is written by the thousand, where a statement built for each would cost more than
   * the row. The values are in the order of `columns`. Not inside a transaction.
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

/**
 * Opens and migrates `sqlite:<path>` (or `sqlite::memory:`) or `postgres://…`.
 * Throws what the driver throws when it cannot.
 */
export async function openDatabase(url: string, log: Log): Promise<Database> {
  const kind = url.startsWith("sqlite:") ? "sqlite" : "postgres";
  const sqlite = kind === "sqlite" ? openSqlite(url.slice("sqlite:".length)) : undefined;
  const handle = new Kysely<Tables>({ dialect: sqlite?.dialect ?? postgresDialect(url, log) });
  await migrate(handle, kind);
  const changes = new Changes(handle, log);
  await changes.begin();
  return {
    kind,
    db: handle.withPlugin(refuseInsideTransaction(changes)),
    changes,
    transaction: (work) => changes.collect(() => handle.transaction().execute(work)),
    hold: async (tx, name) => {
      if (kind === "sqlite") return;
      await sql`select pg_advisory_xact_lock(hashtextextended(${JSON.stringify(name)}, 0))`.execute(tx);
    },
    insertMany: (table, columns, rows) => insertMany(handle, sqlite, { table, columns, rows }),
    ready: () => answers(handle),
    close: async () => {
      changes.stop();
      await handle.destroy();
    },
  };
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

async function answers(db: Db): Promise<boolean> {
  const probe = db.selectFrom("change_counter").select("value").execute();
  const late = new Promise<false>((resolve) => setTimeout(() => resolve(false), 1000).unref());
  return Promise.race([probe.then(() => true), late]).catch(() => false);
}
