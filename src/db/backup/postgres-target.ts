import { setTimeout as pause } from "node:timers/promises";
import { Kysely, PostgresDialect, sql } from "kysely";
import { Pool } from "pg";
import type { Tx } from "../open.ts";
import { APPLICATION } from "../postgres.ts";
import type { Tables } from "../tables.ts";
import { BackupFault } from "./format.ts";
import { loadBackup } from "./load.ts";
import { holdsSomething } from "./occupied.ts";
import type { RestoreOptions } from "./restore.ts";
import { tableOrder } from "./table-order.ts";

const CONNECT_TIMEOUT_MS = 5_000;
const LOOKS = 8;
const LOOK_MS = 250;
const MIGRATION_TABLES = ["kysely_migration", "kysely_migration_lock"];

/** Everything in one transaction. What was there goes into a schema of its own, whose name is returned. */
export async function restorePostgres(url: string, options: RestoreOptions): Promise<string | undefined> {
  const pool = new Pool({
    connectionString: url,
    max: 1,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: `${APPLICATION}-restore`,
  });
  pool.on("error", () => {});
  const handle = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
  try {
    return await handle.transaction().execute((tx) => restoreIn(tx, options));
  } finally {
    await handle.destroy();
  }
}

async function restoreIn(tx: Tx, options: RestoreOptions): Promise<string | undefined> {
  // The settings of the server may be meant for short transactions.
  await sql`set local statement_timeout = 0`.execute(tx);
  await sql`set local idle_in_transaction_session_timeout = 0`.execute(tx);
  await refuseWhileServing(tx);
  const present = await ours(tx);
  const occupied = await isOccupied(tx, present);
  if (occupied && !options.force)
    throw new BackupFault(
      "This database is in use by Postern already. Restore into an empty one, or add --force: the present tables are then kept in a schema of their own.",
    );
  const aside = occupied ? await keepAside(tx, present, options.now) : undefined;
  if (!occupied)
    for (const table of present.toReversed()) await sql`drop table ${sql.table(table)} cascade`.execute(tx);
  const header = await loadBackup(tx, "postgres", options);
  await options.finish(tx, "postgres", header);
  return aside;
}

async function refuseWhileServing(tx: Tx): Promise<void> {
  for (let look = 0; look < LOOKS; look++) {
    if ((await othersConnected(tx)) === 0) return;
    // A process that has just ended may still seem to be there.
    await pause(LOOK_MS);
  }
  throw new BackupFault("A gateway is connected to this database. Stop every replica first.");
}

async function othersConnected(tx: Tx): Promise<number> {
  // Else a transaction sees what it saw first.
  await sql`select pg_stat_clear_snapshot()`.execute(tx);
  const { rows } = await sql<{ n: number }>`
    select count(*) as n from pg_stat_activity
    where datname = current_database() and application_name like ${`${APPLICATION}%`} and pid <> pg_backend_pid()`.execute(
    tx,
  );
  return Number(rows[0]!.n);
}

/** The tables of ours that are here, parents first. */
async function ours(tx: Tx): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select table_name as name from information_schema.tables where table_schema = current_schema()`.execute(
    tx,
  );
  const here = new Set(rows.map(({ name }) => name));
  return [...tableOrder, ...MIGRATION_TABLES].filter((name) => here.has(name));
}

async function isOccupied(tx: Tx, present: readonly string[]): Promise<boolean> {
  const counts = new Map<string, number>();
  for (const table of present) {
    const { rows } = await sql<{ n: number }>`
      select count(*) as n from (select 1 from ${sql.table(table)} limit 1) as first`.execute(tx);
    counts.set(table, Number(rows[0]!.n));
  }
  return holdsSomething(new Set(present), (table) => counts.get(table) ?? 0);
}

async function keepAside(tx: Tx, present: readonly string[], now: Date): Promise<string> {
  const schema = `before_restore_${now.toISOString().replace(/\D/g, "").slice(0, 14)}`;
  await sql`create schema ${sql.ref(schema)}`.execute(tx);
  for (const table of present) {
    await sql`alter table ${sql.table(table)} set schema ${sql.ref(schema)}`.execute(tx);
    // The migrator takes a table of this name in any schema for its own.
    if (MIGRATION_TABLES.includes(table))
      await sql`alter table ${sql.table(`${schema}.${table}`)} rename to ${sql.ref(`kept_${table}`)}`.execute(
        tx,
      );
  }
  return schema;
}
