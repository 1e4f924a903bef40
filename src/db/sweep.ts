import type { World } from "../base/index.ts";
import type { Database } from "./open.ts";

const TOMBSTONE_MS = 24 * 60 * 60 * 1000;
const CHANGES_MS = 60 * 60 * 1000;

/**
 * Empties expired flows (their secrets must not outlive them; `swap` is the vault's, which tells the provider), drops tombstones after 24 hours and changes after one.
 * Returns the flows that expired just now: what hung on them is the owners' business.
 */
export async function sweep(
  database: Database,
  world: World,
): Promise<{ expired: { id: string; kind: string }[] }> {
  const now = world.now().getTime();
  const expired = await database.db
    .updateTable("flows")
    .set({ ended_at: now, outcome: "expired", data_json: "{}", sealed: null })
    .where("ended_at", "is", null)
    .where("expires_at", "<=", now)
    .where("kind", "!=", "swap")
    .returning(["id", "kind"])
    .execute();
  await database.db
    .deleteFrom("flows")
    .where("ended_at", "<=", now - TOMBSTONE_MS)
    .execute();
  await database.db
    .deleteFrom("changes")
    .where("at", "<=", now - CHANGES_MS)
    .execute();
  return { expired };
}
