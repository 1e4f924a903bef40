import { sql } from "kysely";
import type { Db } from "./open.ts";
import type { Sqlite } from "./sqlite.ts";

/** A row as plain values. */
export type Values = readonly (string | number | null)[];

interface Batch {
  table: string;
  columns: readonly string[];
  rows: readonly Values[];
}

/** See `Database.insertMany`. One parameter for the whole batch on Postgres, one prepared statement on SQLite. */
export async function insertMany(db: Db, sqlite: Sqlite | undefined, batch: Batch): Promise<void> {
  const { table, columns, rows } = batch;
  if (rows.length === 0) return;
  if (!sqlite) {
    const names = sql.join(columns.map((name) => sql.ref(name)));
    const records = rows.map((row) => Object.fromEntries(columns.map((name, at) => [name, row[at]])));
    const source = sql`json_populate_recordset(null::${sql.table(table)}, ${JSON.stringify(records)}::json)`;
    await sql`insert into ${sql.table(table)} (${names}) select ${names} from ${source} on conflict do nothing`.execute(
      db,
    );
    return;
  }
  const statement = `insert into ${table} (${columns.join(", ")}) values (${columns.map(() => "?").join(", ")}) on conflict do nothing`;
  // The connection is one, and Kysely hands it out: a transaction of somebody else must not be joined.
  await db.connection().execute(async () => sqlite.runMany(statement, rows));
}
