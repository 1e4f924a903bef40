import { existsSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { setImmediate } from "node:timers/promises";
import { BackupFault, type Column, type Value } from "./format.ts";
import { BATCH_ROWS, type Snapshot } from "./snapshot.ts";

const BUSY_MS = 5_000;

/** A read transaction on a connection of its own: in WAL mode writers go on, and what they write is not seen here. */
export async function openSqliteSnapshot(path: string): Promise<Snapshot> {
  if (!existsSync(path))
    throw new BackupFault(`There is no database at ${path}. Check POSTERN_DATABASE_URL.`);
  const database = new DatabaseSync(path, { timeout: BUSY_MS });
  try {
    database.exec("begin");
    // The snapshot is taken by the first read.
    database.prepare("select count(*) from sqlite_schema").get();
  } catch (error) {
    database.close();
    throw error;
  }
  return {
    kind: "sqlite",
    migrations: async () => {
      if (columnsOf(database, "kysely_migration").length === 0) return [];
      const rows = database.prepare("select name from kysely_migration order by name").all();
      return rows.map(({ name }) => String(name));
    },
    columns: async (table) => columnsOf(database, table),
    rows: (table, columns) => rowsOf(database, table, columns),
    faults: async () => {
      const rows = database.prepare("pragma integrity_check(10)").all();
      return rows.map((row) => String(row.integrity_check)).filter((text) => text !== "ok");
    },
    close: async () => database.close(),
  };
}

function columnsOf(database: DatabaseSync, table: string): Column[] {
  return database
    .prepare("select name, type from pragma_table_info(?)")
    .all(table)
    .map(({ name, type }) => ({ name: String(name), bytes: String(type).toLowerCase() === "blob" }));
}

async function* rowsOf(
  database: DatabaseSync,
  table: string,
  columns: readonly Column[],
): AsyncGenerator<Value[][]> {
  const names = columns.map(({ name }) => `"${name}"`).join(", ");
  const statement = database.prepare(`select ${names} from "${table}"`);
  statement.setReturnArrays(true);
  let batch: Value[][] = [];
  for (const row of statement.iterate() as Iterable<unknown>) {
    batch.push(row as Value[]);
    if (batch.length < BATCH_ROWS) continue;
    yield batch;
    batch = [];
    // Reading is synchronous: signals and progress get their turn.
    await setImmediate();
  }
  if (batch.length > 0) yield batch;
}
