import { Client } from "pg";
import { APPLICATION } from "../postgres.ts";
import type { Column, Value } from "./format.ts";
import { BATCH_ROWS, type Snapshot } from "./snapshot.ts";

const CONNECT_TIMEOUT_MS = 5_000;

/** One REPEATABLE READ transaction: every table as it was at the first read, whatever is written meanwhile. */
export async function openPostgresSnapshot(url: string): Promise<Snapshot> {
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: `${APPLICATION}-backup`,
  });
  // A connection that dies fails the query under way; without a listener it would end the process.
  client.on("error", () => {});
  await client.connect();
  const close = () => client.end();
  try {
    // The settings of the server may be meant for short transactions.
    await client.query("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0");
    await client.query("begin transaction isolation level repeatable read read only");
  } catch (error) {
    await close();
    throw error;
  }
  return {
    kind: "postgres",
    migrations: async () => {
      if ((await columnsOf(client, "kysely_migration")).length === 0) return [];
      const { rows } = await client.query("select name from kysely_migration order by name");
      return rows.map(({ name }) => String(name));
    },
    columns: (table) => columnsOf(client, table),
    rows: (table, columns) => rowsOf(client, table, columns),
    faults: async () => [],
    close,
  };
}

async function columnsOf(client: Client, table: string): Promise<Column[]> {
  const { rows } = await client.query(
    `select column_name as name, data_type as type from information_schema.columns
     where table_schema = current_schema() and table_name = $1 order by ordinal_position`,
    [table],
  );
  return rows.map(({ name, type }) => ({ name, bytes: type === "bytea" }));
}

async function* rowsOf(client: Client, table: string, columns: readonly Column[]): AsyncGenerator<Value[][]> {
  const names = columns.map(({ name }) => client.escapeIdentifier(name)).join(", ");
  const from = client.escapeIdentifier(table);
  await client.query(`declare postern_backup no scroll cursor for select ${names} from ${from}`);
  for (;;) {
    const { rows } = await client.query({
      text: `fetch forward ${BATCH_ROWS} from postern_backup`,
      rowMode: "array",
    });
    if (rows.length > 0) yield rows as unknown as Value[][];
    if (rows.length < BATCH_ROWS) break;
  }
  await client.query("close postern_backup");
}
