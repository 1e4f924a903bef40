import { chmodSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { type Dialect, SqliteDialect } from "kysely";

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
    dialect: new SqliteDialect({ database: async () => driver }),
    runMany: (statement, rows) => {
      const { run } = driver.prepare(statement);
      file.exec("begin immediate");
      try {
        for (const row of rows) run(row);
        file.exec("commit");
      } catch (error) {
        file.exec("rollback");
        throw error;
      }
    },
  };
}

function openFile(path: string): DatabaseSync {
  if (path !== ":memory:") mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(path, { timeout: 5000 });
  if (path !== ":memory:") chmodSync(path, 0o600);
  // secure_delete: a revoked credential's ciphertext must not survive in free pages.
  database.exec(
    "pragma journal_mode = wal; pragma synchronous = normal; pragma foreign_keys = on; pragma secure_delete = on",
  );
  return database;
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
    const statement = database.prepare(sql);
    return {
      reader: statement.columns().length > 0,
      all: (parameters: readonly unknown[]) => statement.all(...(parameters as SQLInputValue[])),
      run: (parameters: readonly unknown[]) => statement.run(...(parameters as SQLInputValue[])),
      iterate: (parameters: readonly unknown[]) => statement.iterate(...(parameters as SQLInputValue[])),
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
