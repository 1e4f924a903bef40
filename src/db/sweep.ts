import { sql } from "kysely";
import type { World } from "../base/index.ts";
import { BATCH_ROWS, deleteInBatches, oneBatch } from "./batches.ts";
import type { Database } from "./open.ts";

const TOMBSTONE_MS = 24 * 60 * 60 * 1000;
const CHANGES_MS = 60 * 60 * 1000;

/** What expired just now; what hung on it is its owner's business. */
export interface Expired {
  id: string;
  kind: string;
}

/**
 * Empties expired flows (their secrets must not outlive them; `swap` is the vault's, which tells the provider) and hands
 * them over, a batch at a time; drops tombstones after 24 hours and changes after one.
 */
export async function sweep(
  database: Database,
  world: World,
  ended: (expired: Expired[]) => Promise<void>,
): Promise<void> {
  const now = world.now().getTime();
  for (;;) {
    const expired = await expire(database, now);
    await ended(expired);
    if (expired.length < BATCH_ROWS) break;
  }
  const tombstones = sql<boolean>`ended_at <= ${now - TOMBSTONE_MS}`;
  await deleteInBatches(database, { table: "flows", key: "id", where: tombstones });
  await deleteInBatches(database, { table: "changes", key: "seq", where: sql`at <= ${now - CHANGES_MS}` });
}

function expire(database: Database, now: number): Promise<Expired[]> {
  const due = sql<boolean>`ended_at is null and expires_at <= ${now} and kind <> 'swap'`;
  return database.db
    .updateTable("flows")
    .set({ ended_at: now, outcome: "expired", data_json: "{}", sealed: null })
    .where(oneBatch(database, { table: "flows", key: "id", where: due }))
    .returning(["id", "kind"])
    .execute();
}
