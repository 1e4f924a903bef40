import { type Dialect, PostgresDialect } from "kysely";
import { Pool, types } from "pg";
import type { Log } from "../base/index.ts";

const BIGINT_OID = 20;
const POOL_SIZE = 10;
const STATEMENT_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 5_000;

// Times and counters are bigint columns far below 2^53.
types.setTypeParser(BIGINT_OID, Number);

/** Kysely over `pg`. Slow statements and an exhausted pool fail within seconds instead of piling up. */
export function postgresDialect(url: string, log: Log): Dialect {
  const pool = new Pool({
    connectionString: url,
    max: POOL_SIZE,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: "postern",
  });
  // An idle connection that dies is replaced at its next use; without a listener it would end the process.
  pool.on("error", (error) => log.warn("database.connection_lost", { error }));
  return new PostgresDialect({ pool });
}
