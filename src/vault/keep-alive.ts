import { sql } from "kysely";
import type { OwnerMode } from "../base/index.ts";
import type { Row } from "../db/index.ts";
import type { Warm } from "./cache.ts";
import { keepAliveAt } from "./keep-alive-at.ts";
import type { VaultParts } from "./parts.ts";
import type { Refreshed } from "./refresh.ts";
import { isRenewable, openSecret } from "./secret.ts";
import { warmOf } from "./warm.ts";

const DAY_MS = 24 * 60 * 60_000;
/** What nobody has used for so long may end at its provider. */
const LONGEST_REST_MS = 90 * DAY_MS;
/** A refresh within this time is as good. */
const FRESH_MS = 3 * DAY_MS;
const AGAIN_MS = 6 * 60 * 60_000;
/** Anonymous sessions end when nobody uses them, and a refresh counts as use; a consent under way is nobody's yet. */
const RESTS: Record<OwnerMode, boolean> = {
  user: true,
  vk: true,
  shared: true,
  discovery: true,
  session: false,
  flow: false,
};
const BATCH = 100;
const MOST_BATCHES = 10;
const AT_ONCE = 4;

/**
 * Many providers end a refresh token that nobody uses for a week or two (RFC 9700 §4.14.2). Each credential is looked at every
 * four to six days, and refreshed where nothing else did, for 90 days after its last use. Of all replicas, one takes each.
 */
export async function keepAlive(
  parts: VaultParts,
  refresh: (warm: Warm) => Promise<Refreshed>,
): Promise<void> {
  await schedule(parts);
  for (let batch = 0; batch < MOST_BATCHES; batch++) {
    const rows = await claim(parts);
    const waiting = rows.values();
    const work = async () => {
      for (const row of waiting) await renew(parts, row, refresh);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    if (rows.length < BATCH) return;
  }
}

/** Rows of a version that did not know of this: some of them in each run. When they were last used nobody knows. */
async function schedule({ database, world }: VaultParts): Promise<void> {
  const now = world.now().getTime();
  const rows = await database.db
    .selectFrom("credentials")
    .select("id")
    .where("keep_alive_at", "is", null)
    .limit(BATCH)
    .execute();
  for (const { id } of rows) {
    await database.db
      .updateTable("credentials")
      .set({ keep_alive_at: keepAliveAt(world), used_at: sql`coalesce(used_at, ${now})` })
      .where("id", "=", id)
      .where("keep_alive_at", "is", null)
      .execute();
  }
}

/** One statement takes a batch and puts it off, so that no other replica takes it. */
function claim({ database, world }: VaultParts): Promise<Row<"credentials">[]> {
  const now = world.now().getTime();
  return database.db
    .updateTable("credentials")
    .set({ keep_alive_at: keepAliveAt(world) })
    .where("id", "in", (where) =>
      where
        .selectFrom("credentials")
        .select("id")
        .where("keep_alive_at", "<=", now)
        .orderBy("keep_alive_at")
        .orderBy("id")
        .limit(BATCH),
    )
    .where("keep_alive_at", "<=", now)
    .returningAll()
    .execute();
}

async function renew(
  parts: VaultParts,
  row: Row<"credentials">,
  refresh: (warm: Warm) => Promise<Refreshed>,
): Promise<void> {
  const now = parts.world.now().getTime();
  const isWanted = row.status === "active" && row.orphaned === 0 && RESTS[row.owner_mode];
  if (row.kind !== "oauth" || !isWanted || now - (row.last_refreshed_at ?? row.created_at) < FRESH_MS) return;
  if (now - (row.used_at ?? row.created_at) > LONGEST_REST_MS) return;
  const place = {
    id: row.id,
    owner: { mode: row.owner_mode, id: row.owner_id },
    upstreamId: row.upstream_id,
  };
  const secret = openSecret(parts.seal, place, row.sealed);
  if (secret?.kind !== "oauth" || secret.grant || !isRenewable(secret)) return;
  try {
    const { outcome } = await refresh(warmOf(row, secret, parts.world));
    if (outcome === "later") await again(parts, row.id);
  } catch (error) {
    parts.world.log.warn("credential.refresh_failed", {
      credential: row.id,
      upstream: row.upstream_id,
      error,
    });
    await again(parts, row.id);
  }
}

async function again({ database, world }: VaultParts, id: string): Promise<void> {
  await database.db
    .updateTable("credentials")
    .set({ keep_alive_at: world.now().getTime() + AGAIN_MS })
    .where("id", "=", id)
    .execute();
}
