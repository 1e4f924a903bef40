import { setTimeout as pause } from "node:timers/promises";
import { Kysely, PostgresDialect, sql } from "kysely";
import { Client, type ClientConfig, types } from "pg";
import type { Log } from "../base/index.ts";
import { faultOf } from "./faults.ts";
import { Lines } from "./lines.ts";
import type { Tables } from "./tables.ts";

/** By this name a database shows which connections are ours; then comes the replica's, then what else it is for. */
export const APPLICATION = "postern";
const LISTENING = " listening";
const BIGINT_OID = 20;
const STATEMENT_TIMEOUT_MS = 10_000;
/** Nothing waits for the network inside a transaction: one that idles has lost its owner. */
const IDLE_TRANSACTION_MS = 15_000;
/** Also how long a statement waits for a free connection. */
const CONNECT_TIMEOUT_MS = 3_000;
/** After this long without a word the other end is asked whether it is still there. */
const KEEPALIVE_MS = 5_000;

// Times and counters are bigint columns far below 2^53.
types.setTypeParser(BIGINT_OID, Number);

export interface PostgresOptions {
  /** The name of this process. */
  replica: string;
  poolSize: number;
}

export interface Postgres {
  dialect: PostgresDialect;
  lines: Lines;
  /** A connection beside the pool for notifications, not yet connected. */
  listener(): Client;
}

function settings(url: string, replica: string, statementTimeoutMs: number): ClientConfig {
  return {
    connectionString: url,
    statement_timeout: statementTimeoutMs,
    // For an answer that never comes, because the network swallowed it.
    query_timeout: statementTimeoutMs + 1_000,
    idle_in_transaction_session_timeout: IDLE_TRANSACTION_MS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_MS,
    application_name: `${APPLICATION} ${replica}`,
  };
}

/** Kysely over `pg`. Slow statements, an exhausted pool and a database that is away fail within seconds instead of piling up. */
export function openPostgres(url: string, log: Log, { replica, poolSize }: PostgresOptions): Postgres {
  const config = settings(url, replica, STATEMENT_TIMEOUT_MS);
  const lines = new Lines({ ...config, max: poolSize }, log);
  const listening = { ...config, application_name: `${config.application_name}${LISTENING}` };
  return { dialect: new PostgresDialect({ pool: lines }), lines, listener: () => new Client(listening) };
}

/**
 * Whether every process of the gateway that is connected to this database listens. Those of a version that does not know
 * how have connections without a replica's name.
 */
export async function everybodyListens(db: Kysely<Tables>): Promise<boolean> {
  const { rows } = await sql<{ name: string | null }>`
    select distinct application_name as name from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
      and (application_name is null or application_name = ${APPLICATION}
        or application_name like ${`${APPLICATION} %`})
  `.execute(db);
  const names = new Set(rows.map(({ name }) => name));
  // Of what another user of the database does no name is shown.
  return rows.every(
    ({ name }) => name !== null && (name.endsWith(LISTENING) || names.has(`${name}${LISTENING}`)),
  );
}

/** A migration may take long; waiting for a lock it may not, because everybody else would wait behind it. */
const MIGRATION_STATEMENT_MS = 10 * 60_000;
const MIGRATION_LOCK_MS = 2_000;
const MIGRATION_TRIES_MS = 10 * 60_000;
const MIGRATION_PAUSE_MS = 500;

/**
 * Runs a migration on a connection of its own, again as long as something else holds what it needs: another replica that
 * migrates, or a long reader.
 */
export async function migratePostgres(
  url: string,
  log: Log,
  migrate: (db: Kysely<Tables>) => Promise<void>,
): Promise<void> {
  const config = {
    ...settings(url, "migrating", MIGRATION_STATEMENT_MS),
    lock_timeout: MIGRATION_LOCK_MS,
    max: 1,
  };
  const handle = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: new Lines(config, log) }) });
  const until = performance.now() + MIGRATION_TRIES_MS;
  try {
    for (;;) {
      try {
        return await migrate(handle);
      } catch (error) {
        const fault = faultOf(error);
        if ((fault !== "busy" && fault !== "conflict") || performance.now() > until) throw error;
        log.info("database.migration_waits", { fault });
        await pause(MIGRATION_PAUSE_MS);
      }
    }
  } finally {
    await handle.destroy();
  }
}
