import { sql } from "kysely";
import type { World } from "../base/index.ts";
import { deleteInBatches, inBatches, oneBatch } from "./batches.ts";
import type { Database } from "./open.ts";

const TOMBSTONE_MS = 24 * 60 * 60 * 1000;
const CHANGES_MS = 60 * 60 * 1000;

/**
 * Empties expired flows (their secrets must not outlive them; `swap` is the vault's, which tells the provider), drops
 * tombstones after 24 hours and changes after one. What hung on a flow is its owner's business.
 */
export async function sweep(database: Database, world: World): Promise<void> {
  const now = world.now().getTime();
  await inBatches(() => expire(database, now));
  const tombstones = sql<boolean>`ended_at <= ${now - TOMBSTONE_MS}`;
  await deleteInBatches(database, { table: "flows", key: "id", where: tombstones });
  await deleteInBatches(database, { table: "changes", key: "seq", where: sql`at <= ${now - CHANGES_MS}` });
}

async function expire(database: Database, now: number): Promise<number> {
  const due = sql<boolean>`ended_at is null and expires_at <= ${now} and kind <> 'swap'`;
  const { numUpdatedRows } = await database.db
    .updateTable("flows")
    .set({ ended_at: now, outcome: "expired", data_json: "{}", sealed: null })
    .where(oneBatch(database, { table: "flows", key: "id", where: due }))
    .executeTakeFirstOrThrow();
  return Number(numUpdatedRows);
}
