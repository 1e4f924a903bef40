import type { Row, Tx } from "../db/index.ts";
import { findDefault, holdAccounts, type Place, rowsOf } from "./accounts.ts";
import { type Binding, findById, noteBinding, type VaultParts } from "./parts.ts";
import { endFlows } from "./removal.ts";

export type Relabelled = "done" | "gone" | "label_taken";

/**
 * Gives one account another label, or makes it the default, or both. Open links of both labels end: what they lead to is
 * another account now. The secret stays, so `generation` rises only to keep what is cached apart.
 */
export async function changeAccount(
  parts: VaultParts,
  tx: Tx,
  id: string,
  change: { account?: string; isDefault?: true },
): Promise<Relabelled> {
  const found = await findById(tx, id);
  if (!found) return "gone";
  const place = { owner: { mode: found.owner_mode, id: found.owner_id }, upstreamId: found.upstream_id };
  await holdAccounts(parts, tx, place);
  const row = await findById(tx, id);
  if (!row) return "gone";
  if (change.account !== undefined && change.account !== row.account) {
    const result = await relabel(parts, tx, row, { ...place, account: change.account });
    if (result !== "done") return result;
  }
  if (change.isDefault && row.is_default === 0) await makeDefault(parts, tx, id, place);
  return "done";
}

async function relabel(parts: VaultParts, tx: Tx, row: Row<"credentials">, to: Binding): Promise<Relabelled> {
  const taken = await rowsOf(tx, to).select("id").where("account", "=", to.account).executeTakeFirst();
  if (taken) return "label_taken";
  const changed = await tx
    .updateTable("credentials")
    .set((eb) => ({
      account: to.account,
      generation: eb("generation", "+", 1),
      updated_at: parts.world.now().getTime(),
    }))
    .where("id", "=", row.id)
    .executeTakeFirst();
  if (changed.numUpdatedRows === 0n) return "gone";
  for (const binding of [{ ...to, account: row.account }, to]) {
    await endFlows(parts, tx, binding, "relabelled");
    await noteBinding(parts, tx, binding);
  }
  return "done";
}

/** The old one first: the database allows one. */
async function makeDefault(parts: VaultParts, tx: Tx, id: string, place: Place): Promise<void> {
  const before = await findDefault(tx, place);
  if (before) {
    await tx.updateTable("credentials").set({ is_default: 0 }).where("id", "=", before.id).execute();
    await noteBinding(parts, tx, { ...place, account: before.account });
  }
  const now = await tx
    .updateTable("credentials")
    .set({ is_default: 1, updated_at: parts.world.now().getTime() })
    .where("id", "=", id)
    .returning("account")
    .executeTakeFirstOrThrow();
  await noteBinding(parts, tx, { ...place, account: now.account });
}
