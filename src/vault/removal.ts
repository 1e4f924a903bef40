import type { Owner } from "../base/index.ts";
import type { Row, Tx } from "../db/index.ts";
import { holdAccounts, promoteOldest } from "./accounts.ts";
import { releaseHeld } from "./held.ts";
import { noteBinding, noteLost, type VaultParts } from "./parts.ts";
import { disownSecret, noteNotTold } from "./revocation.ts";
import { openSecret } from "./secret.ts";

/** How many the sweep takes up at a time. */
export const SWEEP_ROWS = 100;

/**
 * Deletes one credential, the pending flows of its binding, and queues the provider's revocation. False: no such row, or
 * not one that is orphaned since `orphanedSince` (milliseconds), when that is given.
 */
export async function removeCredential(
  parts: VaultParts,
  tx: Tx,
  id: string,
  orphanedSince?: number,
): Promise<boolean> {
  const found = await tx
    .selectFrom("credentials")
    .select(["owner_mode", "owner_id", "upstream_id"])
    .where("id", "=", id)
    .executeTakeFirst();
  if (!found) return false;
  const place = { owner: ownerOf(found), upstreamId: found.upstream_id };
  await holdAccounts(parts, tx, place);
  const row = await tx
    .deleteFrom("credentials")
    .where("id", "=", id)
    // In the statement that deletes: access may have come back a moment ago.
    .$if(orphanedSince !== undefined, (query) =>
      query.where("orphaned", "=", 1).where("updated_at", "<=", orphanedSince!),
    )
    .returningAll()
    .executeTakeFirst();
  if (!row) return false;
  parts.world.reach("revoke.1.credential_deleted");
  await endFlows(parts, tx, { ...place, account: row.account }, "revoked");
  parts.world.reach("revoke.2.flows_ended");
  await disown(parts, tx, [row]);
  parts.world.reach("revoke.3.provider_queued");
  await promoteOldest(parts, tx, place);
  return true;
}

/** Everything an owner has: a session that ended, a consent that was denied, a deleted key or user. */
export async function removeOwner(parts: VaultParts, tx: Tx, owner: Owner): Promise<number> {
  // Flows first: who is storing what one of them brought has taken it, and is waited for; the row is there then (ID-26).
  await endFlows(parts, tx, { owner }, "revoked");
  const rows = await tx
    .deleteFrom("credentials")
    .where("owner_mode", "=", owner.mode)
    .where("owner_id", "=", owner.id)
    .returningAll()
    .execute();
  await disown(parts, tx, rows);
  return rows.length;
}

/** Consent flows that ended or expired and still hold credentials: their end and the removal are two transactions. */
export async function findAbandoned(parts: VaultParts): Promise<string[]> {
  const rows = await parts.database.db
    .selectFrom("credentials")
    .select("owner_id")
    .distinct()
    .where("owner_mode", "=", "flow")
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom("flows")
            .select("flows.id")
            .whereRef("flows.id", "=", "credentials.owner_id")
            .where("flows.ended_at", "is", null)
            .where("flows.expires_at", ">", parts.world.now().getTime()),
        ),
      ),
    )
    .limit(SWEEP_ROWS)
    .execute();
  return rows.map((row) => row.owner_id);
}

/** Credentials whose owner lost access at least so long ago and has not got it back. `since`: milliseconds. */
export async function findOrphaned({ database }: VaultParts, since: number): Promise<string[]> {
  const rows = await database.db
    .selectFrom("credentials")
    .select("id")
    .where("orphaned", "=", 1)
    .where("updated_at", "<=", since)
    .orderBy("updated_at")
    .limit(SWEEP_ROWS)
    .execute();
  return rows.map((row) => row.id);
}

/** Everything at an upstream. Returns how many credentials that was, here and above. */
export async function removeUpstream(parts: VaultParts, tx: Tx, upstreamId: string): Promise<number> {
  await endFlows(parts, tx, { upstreamId }, "revoked");
  const rows = await tx
    .deleteFrom("credentials")
    .where("upstream_id", "=", upstreamId)
    .returningAll()
    .execute();
  await disown(parts, tx, rows);
  return rows.length;
}

/** Ends connect links, trips to the provider and what a person was still asked about, so that nothing late is stored. */
export async function endFlows(
  parts: VaultParts,
  tx: Tx,
  match: { owner?: Owner; upstreamId?: string; account?: string },
  outcome: string,
): Promise<void> {
  await parts.flows.end(tx, { ...match, kind: "connect" }, outcome);
  await parts.flows.end(tx, { ...match, kind: "state" }, outcome);
  await releaseHeld(parts, tx, match, outcome);
}

async function disown(parts: VaultParts, tx: Tx, rows: Row<"credentials">[]): Promise<void> {
  for (const row of rows) {
    const owner = ownerOf(row);
    const secret = openSecret(parts.seal, { id: row.id, owner, upstreamId: row.upstream_id }, row.sealed);
    const disowned = {
      credentialId: row.id,
      owner,
      upstreamId: row.upstream_id,
      oauthConfigId: row.oauth_config_id ?? undefined,
    };
    if (secret) await disownSecret(parts, tx, { ...disowned, secret }, row.subject);
    else await noteNotTold(parts, tx, disowned, "unreadable");
    await noteLost(parts, tx, { owner, upstreamId: row.upstream_id }, "revoked");
    await noteBinding(parts, tx, { owner, upstreamId: row.upstream_id, account: row.account });
  }
}

function ownerOf(row: Pick<Row<"credentials">, "owner_mode" | "owner_id">): Owner {
  return { mode: row.owner_mode, id: row.owner_id };
}
