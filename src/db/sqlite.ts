import { chmodSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { type Dialect, type DialectAdapter, SqliteAdapter, SqliteDialect } from "kysely";
import { faultProblem, sqliteFault } from "./faults.ts";

const JOURNAL_BYTES = 16 * 1024 * 1024;

export interface Sqlite {
  /** Kysely over the embedded `node:sqlite`. The file and its folder are readable by this user only. */
  dialect: Dialect;
  /** Runs one statement for each of `rows`, in one transaction of its own: nothing else may have one open. */
  runMany(statement: string, rows: readonly (readonly SQLInputValue[])[]): void;
}

export function openSqlite(path: string): Sqlite {
  const file = openFile(path);
  const driver = bridge(file);
  return {
    dialect: new TransactionalSqlite({ database: async () => driver }),
    runMany: (statement, rows) => {
      const { run } = driver.prepare(statement);
      told(() => file.exec("begin immediate"));
      try {
        for (const row of rows) run(row);
        told(() => file.exec("commit"));
      } catch (error) {
        if (file.isTransaction) file.exec("rollback");
        throw error;
      }
    },
  };
}

/** A migration that dies half-way must leave nothing behind (ST-11): SQLite can undo schema changes, Kysely does not count on it. */
class TransactionalSqlite extends SqliteDialect {
  override createAdapter(): DialectAdapter {
    return new TransactionalAdapter();
  }
}

class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

function openFile(path: string): DatabaseSync {
  if (path !== ":memory:") mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(path, { timeout: 5000 });
  if (path !== ":memory:") chmodSync(path, 0o600);
  // full: a refresh token that a provider has replaced is on the disk before the new one is used, whatever the power does.
  // secure_delete: a revoked credential's ciphertext must not survive in free pages.
  database.exec(
    "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on; pragma secure_delete = on",
  );
  // A reader that takes long (a backup) keeps the journal growing; afterwards the room is given back.
  database.exec(`pragma journal_size_limit = ${JOURNAL_BYTES}`);
  return database;
}

/** The file's faults in our words. */
function told<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    const fault = sqliteFault(error);
    throw fault === undefined ? error : faultProblem(fault, error);
  }
}

interface Prepared {
  reader: boolean;
  all(parameters: readonly unknown[]): unknown[];
  run(parameters: readonly unknown[]): { changes: number | bigint; lastInsertRowid: number | bigint };
  iterate(parameters: readonly unknown[]): IterableIterator<unknown>;
}

const MAX_STATEMENTS = 500;

/** What Kysely expects of a driver, in the words of `node:sqlite`. The same text is prepared once. */
function bridge(database: DatabaseSync) {
  const statements = new Map<string, Prepared>();
  const prepare = (sql: string): Prepared => {
    // A transaction that becomes a writer only later is refused when a second process (a backup, a command) wrote meanwhile.
    const statement = database.prepare(sql === "begin" ? "begin immediate" : sql);
    return {
      reader: statement.columns().length > 0,
      all: (parameters: readonly unknown[]) => told(() => statement.all(...(parameters as SQLInputValue[]))),
      run: (parameters: readonly unknown[]) => {
        // A disk that is full, and other faults, end the transaction by themselves.
        if (sql === "rollback" && !database.isTransaction) return { changes: 0, lastInsertRowid: 0 };
        return told(() => statement.run(...(parameters as SQLInputValue[])));
      },
      iterate: (parameters: readonly unknown[]) =>
        told(() => statement.iterate(...(parameters as SQLInputValue[]))),
    };
  };
  return {
    close: () => database.close(),
    prepare: (sql: string) => {
      const known = statements.get(sql);
      if (known) return known;
      const prepared = prepare(sql);
      if (statements.size >= MAX_STATEMENTS) statements.clear();
      statements.set(sql, prepared);
      return prepared;
    },
  };
}
