import { sql } from "kysely";
import type { Owner, OwnerMode } from "../base/index.ts";
import { BATCH_ROWS, type Tx } from "../db/index.ts";
import { reasonAfterRestore } from "./after-restore.ts";
import type { Credential } from "./credential.ts";
import { CLIENT_REFUSED } from "./lease.ts";
import { noteBinding, noteLost, noteUpstream, type VaultParts } from "./parts.ts";
import { endFlows } from "./removal.ts";

const raised = sql<number>`generation + 1`;

/** All that an owner may use from now on. */
export interface OwnerAccess {
  owner: Owner;
  allowed: ReadonlySet<string>;
}

/**
 * Contract section 2, reconciliation: what an owner may no longer use is orphaned and its pending links end; what it may
 * use again shows its former status. Late writers see another generation. Owners of one mode at a time, a batch at most.
 */
export async function setOwnerAccess(
  parts: VaultParts,
  tx: Tx,
  changes: readonly OwnerAccess[],
): Promise<void> {
  for (const [mode, some] of Map.groupBy(changes, ({ owner }) => owner.mode)) {
    const allowed = new Map(some.map((change) => [change.owner.id, change.allowed]));
    // Flows first, as in removal.ts: what somebody is storing this moment is waited for, and orphaned with the rest (ID-26).
    for (const { owner_id, upstream_id } of await openFlows(tx, mode, [...allowed.keys()])) {
      if (allowed.get(owner_id)!.has(upstream_id)) continue;
      await endFlows(parts, tx, { owner: { mode, id: owner_id }, upstreamId: upstream_id }, "access_lost");
    }
    await setOrphaned(parts, tx, mode, allowed);
  }
}

async function setOrphaned(
  parts: VaultParts,
  tx: Tx,
  mode: OwnerMode,
  allowed: ReadonlyMap<string, ReadonlySet<string>>,
): Promise<void> {
  const rows = await tx
    .selectFrom("credentials")
    .select(["id", "owner_id", "upstream_id", "account", "orphaned"])
    .where("owner_mode", "=", mode)
    .where("owner_id", "in", [...allowed.keys()])
    .orderBy("id")
    .execute();
  for (const orphaned of [0, 1]) {
    const due = rows.filter(
      (row) =>
        row.orphaned !== orphaned && allowed.get(row.owner_id)!.has(row.upstream_id) === (orphaned === 0),
    );
    for (let at = 0; at < due.length; at += BATCH_ROWS) {
      const ids = due.slice(at, at + BATCH_ROWS).map(({ id }) => id);
      await tx
        .updateTable("credentials")
        .set({ orphaned, generation: raised, updated_at: parts.world.now().getTime() })
        .where("id", "in", ids)
        .execute();
    }
    for (const row of due) {
      const owner = { mode, id: row.owner_id };
      await noteBinding(parts, tx, { owner, upstreamId: row.upstream_id, account: row.account });
    }
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

async function openFlows(tx: Tx, mode: OwnerMode, ownerIds: readonly string[]) {
  const rows = await tx
    .selectFrom("flows")
    .select(["owner_id", "upstream_id"])
    .distinct()
    .where("owner_mode", "=", mode)
    .where("owner_id", "in", [...ownerIds])
    .where("kind", "in", ["connect", "state"])
    .where("upstream_id", "is not", null)
    .where("ended_at", "is", null)
    .execute();
  return rows.map(({ owner_id, upstream_id }) => ({ owner_id: owner_id!, upstream_id: upstream_id! }));
}
