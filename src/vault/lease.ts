import type { Row } from "../db/index.ts";
import type { Credential } from "./credential.ts";
import type { VaultParts } from "./parts.ts";

/** Longer than any refresh may take, so that a lease ends only with the process that held it. */
const LEASE_MS = 30_000;
const FIRST_WAIT_MS = 20;
const LONGEST_WAIT_MS = 250;
const LONGEST_ROUNDS = 80;

/** Takes the right to refresh this generation, on any replica, and reads the row again. Undefined: somebody else has it. */
export async function takeLease(
  parts: VaultParts,
  credential: Credential,
  holder: string,
): Promise<Row<"credentials"> | undefined> {
  const now = parts.world.now().getTime();
  return parts.database.db
    .updateTable("credentials")
    .set({ refresh_holder: holder, refresh_until: now + LEASE_MS })
    .where("id", "=", credential.id)
    .where("generation", "=", credential.generation)
    .where("status", "=", "active")
    .where("orphaned", "=", 0)
    .where((where) => where.or([where("refresh_holder", "is", null), where("refresh_until", "<=", now)]))
    .where((where) => where.or([where("refresh_after", "is", null), where("refresh_after", "<=", now)]))
    .returningAll()
    .executeTakeFirst();
}

/** Gives the lease back; `refreshAfter`: not before this time again. */
export async function returnLease(
  parts: VaultParts,
  credential: Credential,
  holder: string,
  refreshAfter: number,
): Promise<void> {
  await parts.database.db
    .updateTable("credentials")
    .set({ refresh_holder: null, refresh_until: null, refresh_after: refreshAfter })
    .where("id", "=", credential.id)
    .where("refresh_holder", "=", holder)
    .execute();
}

/**
 * Waits while another holder refreshes. `moved`: read again (refreshed, revoked, lost, or the lease is free).
 * `later`: a refresh failed for now.
 */
export async function awaitHolder(
  parts: VaultParts,
  credential: Credential,
): Promise<{ outcome: "moved" } | { outcome: "later"; refreshAfter: number }> {
  let wait = FIRST_WAIT_MS;
  for (let round = 0; round < LONGEST_ROUNDS; round++) {
    const row = await parts.database.db
      .selectFrom("credentials")
      .select(["generation", "status", "orphaned", "refresh_holder", "refresh_until", "refresh_after"])
      .where("id", "=", credential.id)
      .executeTakeFirst();
    const now = parts.world.now().getTime();
    if (!row || row.generation !== credential.generation || row.status !== "active" || row.orphaned === 1) {
      return { outcome: "moved" };
    }
    if (row.refresh_holder === null || row.refresh_until === null || row.refresh_until <= now) {
      const refreshAfter = row.refresh_after ?? 0;
      return refreshAfter > now ? { outcome: "later", refreshAfter } : { outcome: "moved" };
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
  return { outcome: "later", refreshAfter: parts.world.now().getTime() + LONGEST_WAIT_MS };
}
