import type { World } from "../../base/index.ts";
import { newId } from "../../base/index.ts";
import type { Tx } from "../open.ts";
import type { Header } from "./format.ts";

/**
 * What was pending when the backup was made may have been used since, and must not be used twice: it counts as expired.
 * What holds a provider's tokens (`swap`) is left to the sweep, which tells the provider. Notes where the rows come from.
 * Returns how many flows that were.
 */
export async function endFlowsAfterRestore(tx: Tx, world: World, header: Header): Promise<number> {
  const now = world.now().getTime();
  const ended = await tx
    .updateTable("flows")
    .set({ ended_at: now, outcome: "expired", data_json: "{}", sealed: null })
    .where("ended_at", "is", null)
    .where("kind", "!=", "swap")
    .executeTakeFirst();
  await tx.updateTable("flows").set({ expires_at: now }).where("ended_at", "is", null).execute();
  await tx
    .insertInto("restores")
    .values({ id: newId(world, "restore"), backup_made_at: Date.parse(header.made_at), restored_at: now })
    .execute();
  return Number(ended.numUpdatedRows);
}

/** When the latest backup was made that this database comes from and that is not older than `at`; milliseconds. */
export async function restoredFrom(tx: Tx, at: number): Promise<number | undefined> {
  const row = await tx
    .selectFrom("restores")
    .select("backup_made_at")
    .where("backup_made_at", ">=", at)
    .orderBy("backup_made_at", "desc")
    .limit(1)
    .executeTakeFirst();
  return row?.backup_made_at;
}
