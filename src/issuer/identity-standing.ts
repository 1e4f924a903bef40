import type { Owner } from "../base/index.ts";
import type { Db, Tx } from "../db/index.ts";

/**
 * Whether the identity behind a grant may still be used, read from the database and not from a cache: the key exists,
 * is active and not expired, the person exists and is active (PK-17). `now`: milliseconds.
 */
export async function isIdentityEnabled(
  db: Db | Tx,
  subject: { owner: Owner; virtualKeyId?: string | null },
  now: number,
): Promise<boolean> {
  if (subject.virtualKeyId) {
    const key = await db
      .selectFrom("virtual_keys")
      .select(["is_active", "expires_at"])
      .where("id", "=", subject.virtualKeyId)
      .executeTakeFirst();
    if (key?.is_active !== 1 || (key.expires_at !== null && key.expires_at <= now)) return false;
  }
  if (subject.owner.mode !== "user") return true;
  const user = await db
    .selectFrom("users")
    .select("is_active")
    .where("id", "=", subject.owner.id)
    .executeTakeFirst();
  return user?.is_active === 1;
}
