import type { Tx } from "../db/index.ts";

/**
 * After a restore, a refresh token of the backup may be one that its client has rotated since. The client holds its
 * successor, which this database never knew; whoever shows the old one may be a thief, and the reuse would not be noticed
 * (OAuth 2.1 §4.3.1, RFC 9700 §4.14.2). A client rotates when its access token ends: a grant whose access token still
 * counts goes on, any other ends with the next sweep, credentials and audit line included. `everything`: all grants end.
 * `now`: milliseconds. Returns how many end.
 */
export async function endStaleGrants(tx: Tx, now: number, everything: boolean): Promise<number> {
  const result = await tx
    .updateTable("grants")
    .set({ ends_at: now, idle_until: now })
    .where("ends_at", ">", now)
    .$if(!everything, (query) =>
      query.where(({ not, exists, selectFrom }) =>
        not(
          exists(
            selectFrom("tokens")
              .select("tokens.hash")
              .whereRef("tokens.grant_id", "=", "grants.id")
              .where("tokens.kind", "=", "access")
              .where("tokens.expires_at", ">", now),
          ),
        ),
      ),
    )
    .executeTakeFirst();
  // At once, and not with the sweep.
  await tx
    .deleteFrom("tokens")
    .where("grant_id", "in", tx.selectFrom("grants").select("id").where("ends_at", "<=", now))
    .execute();
  return Number(result.numUpdatedRows);
}
