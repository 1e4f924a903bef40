import { sql } from "kysely";
import type { Owner } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { reasonAfterRestore } from "./after-restore.ts";
import type { Credential } from "./credential.ts";
import { CLIENT_REFUSED } from "./lease.ts";
import { noteBinding, noteLost, noteUpstream, type VaultParts } from "./parts.ts";
import { endFlows } from "./removal.ts";

const raised = sql<number>`generation + 1`;

/**
 * Contract section 2, reconciliation: what the owner may no longer use is orphaned and its pending links end; what it may
 * use again shows its former status. Late writers see another generation.
 */
export async function setOwnerAccess(
  parts: VaultParts,
  tx: Tx,
  owner: Owner,
  allowed: ReadonlySet<string>,
): Promise<void> {
  const rows = await tx
    .selectFrom("credentials")
    .select(["id", "upstream_id", "account", "orphaned"])
    .where("owner_mode", "=", owner.mode)
    .where("owner_id", "=", owner.id)
    .execute();
  for (const row of rows) {
    const orphaned = allowed.has(row.upstream_id) ? 0 : 1;
    if (orphaned === row.orphaned) continue;
    await tx
      .updateTable("credentials")
      .set({ orphaned, generation: raised, updated_at: parts.world.now().getTime() })
      .where("id", "=", row.id)
      .execute();
    await noteBinding(parts, tx, { owner, upstreamId: row.upstream_id, account: row.account });
  }
  for (const upstreamId of await upstreamsWithFlows(tx, owner)) {
    if (!allowed.has(upstreamId)) await endFlows(parts, tx, { owner, upstreamId }, "access_lost");
  }
}

/** A changed address or OAuth configuration: nothing that was given for the old one may be used for the new one. */
export async function demandReauth(
  parts: VaultParts,
  tx: Tx,
  upstreamId: string,
  reason: string,
): Promise<void> {
  const rows = await tx
    .updateTable("credentials")
    .set({
      status: sql<"needs_reauth">`case kind when 'oauth' then 'needs_reauth' else 'needs_update' end`,
      status_reason: reason,
      generation: raised,
      // The next server, or the next client, need not know them.
      asked_scopes_json: null,
      wanted_scopes_json: null,
      updated_at: parts.world.now().getTime(),
    })
    .where("upstream_id", "=", upstreamId)
    .returning(["owner_mode", "owner_id"])
    .execute();
  for (const row of rows)
    await noteLost(parts, tx, { owner: { mode: row.owner_mode, id: row.owner_id }, upstreamId }, reason);
  await endFlows(parts, tx, { upstreamId }, "upstream_changed");
  await noteUpstream(parts, tx, upstreamId);
}

/** Another secret or key of the gateway's own: credentials that wait because the provider refused it wait no longer. */
export async function clientChanged(parts: VaultParts, tx: Tx, upstreamId: string): Promise<void> {
  const changed = await tx
    .updateTable("credentials")
    .set({ refresh_after: null, status_reason: null })
    .where("upstream_id", "=", upstreamId)
    .where("status", "=", "active")
    .where("status_reason", "=", CLIENT_REFUSED)
    .executeTakeFirst();
  if (changed.numUpdatedRows > 0n) await noteUpstream(parts, tx, upstreamId);
}

/**
 * Turns one credential `needs_reauth` (header values: `needs_update`) if its generation is still the one that failed.
 * The generation stays: a link the person may have open already is the cure, not a late writer.
 */
export async function failCredential(
  parts: VaultParts,
  credential: Credential,
  reason: string,
  holder?: string,
): Promise<boolean> {
  return parts.database.transaction(async (tx) => {
    const told = await reasonAfterRestore(tx, credential, reason);
    const result = await tx
      .updateTable("credentials")
      .set({
        status: credential.kind === "oauth" ? "needs_reauth" : "needs_update",
        status_reason: told,
        refresh_holder: null,
        refresh_until: null,
        updated_at: parts.world.now().getTime(),
      })
      .where("id", "=", credential.id)
      .where("generation", "=", credential.generation)
      .where("status", "=", "active")
      .$if(holder !== undefined, (query) => query.where("refresh_holder", "=", holder!))
      .executeTakeFirst();
    if (result.numUpdatedRows === 0n) return false;
    await noteLost(parts, tx, credential, told);
    await noteBinding(parts, tx, credential);
    parts.world.log.info("credential.lost", {
      credential: credential.id,
      upstream: credential.upstreamId,
      reason: told,
    });
    return true;
  });
}

/** The upstream refused this token before its time: it counts as expired, so that the next open refreshes it. */
export async function expireNow(parts: VaultParts, credential: Credential): Promise<void> {
  await parts.database.transaction(async (tx) => {
    const result = await tx
      .updateTable("credentials")
      .set({ expires_at: parts.world.now().getTime() })
      .where("id", "=", credential.id)
      .where("generation", "=", credential.generation)
      .executeTakeFirst();
    if (result.numUpdatedRows > 0n) await noteBinding(parts, tx, credential);
  });
}

async function upstreamsWithFlows(tx: Tx, owner: Owner): Promise<string[]> {
  const rows = await tx
    .selectFrom("flows")
    .select("upstream_id")
    .distinct()
    .where("owner_mode", "=", owner.mode)
    .where("owner_id", "=", owner.id)
    .where("kind", "in", ["connect", "state"])
    .where("ended_at", "is", null)
    .execute();
  return rows.flatMap((row) => (row.upstream_id === null ? [] : [row.upstream_id]));
}
