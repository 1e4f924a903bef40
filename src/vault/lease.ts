import { sql } from "kysely";
import type { Row } from "../db/index.ts";
import { bindingKey, type Credential } from "./credential.ts";
import type { VaultParts } from "./parts.ts";

/** Longer than one request to a provider may take, so that a lease ends only with the process that held it. */
const LEASE_MS = 25_000;
const FIRST_WAIT_MS = 20;
const LONGEST_WAIT_MS = 250;
const LONGEST_ROUNDS = 120;
/** A token that still works does not wait longer for a holder that may be dead. */
const PATIENCE_MS = 1_000;
/** No pause is longer; what says otherwise was written by a clock that has jumped since. */
export const LONGEST_PAUSE_MS = 10 * 60_000;

/** The `status_reason` of an active credential whose provider does not accept the gateway itself. */
export const CLIENT_REFUSED = "client_refused";

/**
 * Takes the right to refresh this generation, on any replica, and reads the row again. Undefined: somebody else has it. It
 * is also the proof that the database takes writes: without one, nothing is sent (AV-07). `now`: milliseconds;
 * `refresh_started_at` becomes it, unless an earlier refresh is still without its answer.
 */
export async function takeLease(
  parts: Pick<VaultParts, "database">,
  credential: Credential,
  holder: string,
  now: number,
): Promise<Row<"credentials"> | undefined> {
  return parts.database.db
    .updateTable("credentials")
    .set({
      refresh_holder: holder,
      refresh_until: now + LEASE_MS,
      refresh_started_at: sql`coalesce(refresh_started_at, ${now})`,
    })
    .where("id", "=", credential.id)
    .where("generation", "=", credential.generation)
    .where("status", "=", "active")
    .where("orphaned", "=", 0)
    .where((where) =>
      where.or([
        where("refresh_holder", "is", null),
        where("refresh_until", "<=", now),
        where("refresh_until", ">", now + LONGEST_PAUSE_MS),
      ]),
    )
    .where((where) =>
      where.or([
        where("refresh_after", "is", null),
        where("refresh_after", "<=", now),
        where("refresh_after", ">", now + LONGEST_PAUSE_MS),
      ]),
    )
    .returningAll()
    .executeTakeFirst();
}

/** Before another request under the same lease. False: the credential is another one by now, or somebody else's turn. */
export async function renewLease(
  parts: VaultParts,
  credential: Credential,
  holder: string,
): Promise<boolean> {
  const renewed = await parts.database.db
    .updateTable("credentials")
    .set({ refresh_until: parts.world.now().getTime() + LEASE_MS })
    .where("id", "=", credential.id)
    .where("generation", "=", credential.generation)
    .where("refresh_holder", "=", holder)
    .executeTakeFirst();
  return renewed.numUpdatedRows > 0n;
}

/**
 * Gives the lease back. `refreshAfter`: not before this time again. `answered`: the refresh began then, and what the provider said is known.
 * `reason`: shown with the row; without one it stays as it is.
 */
export async function returnLease(
  parts: VaultParts,
  credential: Credential,
  holder: string,
  { refreshAfter, answered, reason }: { refreshAfter: number; answered?: number; reason?: string },
): Promise<void> {
  await parts.database.db
    .updateTable("credentials")
    .set({
      refresh_holder: null,
      refresh_until: null,
      refresh_after: refreshAfter,
      ...(answered === undefined
        ? {}
        : {
            refresh_started_at: sql`case when refresh_started_at = ${answered} then null else refresh_started_at end`,
          }),
      ...(reason === undefined ? {} : { status_reason: reason }),
    })
    .where("id", "=", credential.id)
    .where("refresh_holder", "=", holder)
    .execute();
}

type Awaited =
  | { outcome: "moved" }
  | { outcome: "later"; refreshAfter: number; reason?: typeof CLIENT_REFUSED };

/**
 * Waits while another holder refreshes. `moved`: read again (refreshed, revoked, lost, or the lease is free).
 * `later`: a refresh failed for now. `wake` ends a pause early, when the credential is heard to have changed.
 */
export async function awaitHolder(
  parts: VaultParts,
  credential: Credential,
  wakers: Map<string, () => void>,
): Promise<Awaited> {
  let wait = FIRST_WAIT_MS;
  const begunAt = parts.world.now().getTime();
  for (let round = 0; round < LONGEST_ROUNDS; round++) {
    const row = await parts.database.db
      .selectFrom("credentials")
      .select(["generation", "status", "status_reason", "orphaned"])
      .select(["refresh_holder", "refresh_until", "refresh_after"])
      .where("id", "=", credential.id)
      .executeTakeFirst();
    const now = parts.world.now().getTime();
    if (!row || row.generation !== credential.generation || row.status !== "active" || row.orphaned === 1) {
      return { outcome: "moved" };
    }
    const { refresh_holder: holder, refresh_until: until } = row;
    if (holder === null || until === null || until <= now || until > now + LONGEST_PAUSE_MS) {
      const refreshAfter = row.refresh_after ?? 0;
      const isPause = refreshAfter > now && refreshAfter <= now + LONGEST_PAUSE_MS;
      if (!isPause) return { outcome: "moved" };
      const isRefused = row.status_reason === CLIENT_REFUSED;
      return { outcome: "later", refreshAfter, ...(isRefused && { reason: CLIENT_REFUSED }) };
    }
    if (now - begunAt >= PATIENCE_MS && now < (credential.expiresAt ?? 0))
      return { outcome: "later", refreshAfter: Math.min(until, now + PATIENCE_MS) };
    await pause(wait, bindingKey(credential.owner, credential.upstreamId, credential.account), wakers);
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
  return { outcome: "later", refreshAfter: parts.world.now().getTime() + LONGEST_WAIT_MS };
}

function pause(ms: number, key: string, wakers: Map<string, () => void>): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      if (wakers.get(key) === done) wakers.delete(key);
      resolve();
    };
    const timer = setTimeout(done, ms);
    wakers.set(key, done);
  });
}
