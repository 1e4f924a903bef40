import { setImmediate } from "node:timers/promises";
import { type RawBuilder, type SqlBool, sql } from "kysely";
import type { Database } from "./open.ts";
import type { Tables } from "./tables.ts";

/** Rows that one statement takes: on SQLite it holds up every other writer, and nobody may wait for long. */
export const BATCH_ROWS = 500;

/** Where rows are found: a table, the column that tells them apart, and a condition. */
export interface Matching {
  table: keyof Tables;
  key: string;
  where: RawBuilder<SqlBool>;
}

/**
 * Deletes what matches, a batch per statement, until nothing is left. The statement that deletes a row judges it: one that
 * somebody has just taken or renewed stays. Several replicas may do it at once; each passes over what another is at.
 * Returns how many rows went.
 */
export function deleteInBatches(database: Database, matching: Matching): Promise<number> {
  return inBatches(async () => {
    const { db } = database;
    const result =
      await sql`delete from ${sql.table(matching.table)} where ${oneBatch(database, matching)}`.execute(db);
    return Number(result.numAffectedRows ?? 0n);
  });
}

/** The condition of a statement that takes one batch of what matches. */
export function oneBatch({ kind }: Database, { table, key, where }: Matching): RawBuilder<SqlBool> {
  const rows = sql`select ${sql.ref(key)} from ${sql.table(table)} where ${where} limit ${sql.lit(BATCH_ROWS)}`;
  // An array is made once; a subquery that locks might be run again for every row.
  return kind === "postgres"
    ? sql`${sql.ref(key)} = any(array(${rows} for update skip locked))`
    : sql`${sql.ref(key)} in (${rows})`;
}

/** Repeats a step until it takes less than a batch; others get their turn in between. Returns the sum. */
export async function inBatches(step: () => Promise<number>, size = BATCH_ROWS): Promise<number> {
  let sum = 0;
  for (;;) {
    const taken = await step();
    sum += taken;
    if (taken < size) return sum;
    await setImmediate();
  }
}
