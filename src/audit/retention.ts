import { sql } from "kysely";
import type { World } from "../base/index.ts";
import type { Database } from "../db/index.ts";
import { auditIdAt } from "./audit-query.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
const BATCH = 2000;
const MOST_BATCHES = 50;

/**
 * Removes lines older than `days` (0 keeps everything), oldest first, in small statements and at most 100,000 at a time:
 * the first run on a long trail must not hold up the calls that append to it. Returns how many went.
 */
export async function sweepAudit(
  { database, world }: { database: Database; world: World },
  days: number,
): Promise<number> {
  if (days === 0) return 0;
  const before = auditIdAt(world.now().getTime() - days * DAY_MS);
  let removed = 0;
  for (let batch = 0; batch < MOST_BATCHES; batch += 1) {
    const count = await removeBatch(database, before);
    removed += count;
    if (count < BATCH) break;
  }
  return removed;
}

async function removeBatch({ db, kind }: Database, before: string): Promise<number> {
  const oldest = db.selectFrom("audit").select("id").where("id", "<", before).orderBy("id").limit(BATCH);
  // Another replica may be sweeping the same lines.
  const mine = kind === "postgres" ? sql`(${oldest.forUpdate().skipLocked()})` : sql`(${oldest})`;
  const result = await sql`delete from audit where id in ${mine}`.execute(db);
  return Number(result.numAffectedRows ?? 0n);
}
