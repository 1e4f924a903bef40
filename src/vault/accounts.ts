import type { Owner } from "../base/index.ts";
import type { Db, Row, Tx } from "../db/index.ts";
import { noteBinding, type VaultParts } from "./parts.ts";

/** Stands for "whichever is the default" in caches; no label can look like it. */
export const DEFAULT = "*";

export type Place = { owner: Owner; upstreamId: string };

/** The row that is used when no account is named: the default. */
export function findDefault(db: Db | Tx, place: Place): Promise<Row<"credentials"> | undefined> {
  return rowsOf(db, place).selectAll().where("is_default", "=", 1).executeTakeFirst();
}

/** Whether the row about to be inserted is the first of its owner and upstream, hence the default. */
export async function willBeDefault(parts: VaultParts, tx: Tx, place: Place): Promise<boolean> {
  await holdAccounts(parts, tx, place);
  return (await findDefault(tx, place)) === undefined;
}

/** Makes the oldest remaining account the default when there is none; the accounts are held since before the removal. */
export async function promoteOldest(parts: VaultParts, tx: Tx, place: Place): Promise<void> {
  if (await findDefault(tx, place)) return;
  const oldest = await rowsOf(tx, place)
    .select(["id", "account"])
    .orderBy("created_at")
    .orderBy("id")
    .executeTakeFirst();
  if (!oldest) return;
  await tx.updateTable("credentials").set({ is_default: 1 }).where("id", "=", oldest.id).execute();
  await noteBinding(parts, tx, { ...place, account: oldest.account });
}

/** The labels of all accounts that an owner has at an upstream. */
export async function labelsOf(db: Db | Tx, place: Place): Promise<string[]> {
  const rows = await rowsOf(db, place).select("account").orderBy("account").execute();
  return rows.map(({ account }) => account);
}

/** Accounts of one owner and upstream are labelled, promoted and removed one at a time. */
export function holdAccounts(parts: VaultParts, tx: Tx, { owner, upstreamId }: Place): Promise<void> {
  return parts.database.hold(tx, ["accounts", owner.mode, owner.id, upstreamId]);
}

/** All accounts an owner has at an upstream. */
export function rowsOf(db: Db | Tx, { owner, upstreamId }: Place) {
  return db
    .selectFrom("credentials")
    .where("owner_mode", "=", owner.mode)
    .where("owner_id", "=", owner.id)
    .where("upstream_id", "=", upstreamId);
}
