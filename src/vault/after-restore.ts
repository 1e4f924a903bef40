import { restoredFrom, type Tx } from "../db/index.ts";
import type { Credential } from "./credential.ts";

/** Nobody refreshes in a database that has just been made: what the backup says of that was another process. */
export async function releaseLeases(tx: Tx): Promise<void> {
  await tx
    .updateTable("credentials")
    .set({ refresh_holder: null, refresh_until: null, refresh_after: null })
    .where((where) =>
      where.or([where("refresh_holder", "is not", null), where("refresh_after", "is not", null)]),
    )
    .execute();
}

/**
 * The reason why a refresh was refused, as people are told it. A refresh token that comes from a backup may have been used
 * up after the backup was made; then that is the reason, with its date.
 */
export async function reasonAfterRestore(tx: Tx, { id }: Credential, reason: string): Promise<string> {
  if (!reason.startsWith("refresh_")) return reason;
  const row = await tx
    .selectFrom("credentials")
    .select(["created_at", "last_refreshed_at"])
    .where("id", "=", id)
    .executeTakeFirst();
  const madeAt = row && (await restoredFrom(tx, row.last_refreshed_at ?? row.created_at));
  return madeAt === undefined
    ? reason
    : `restored_from_backup_of_${new Date(madeAt).toISOString().slice(0, 10)}`;
}
