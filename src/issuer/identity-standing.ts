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

/**
 * The same for what is made for the identity in this transaction: until it ends nobody deletes or switches off the key or the person,
 * who would otherwise leave behind what they did not see (ID-28).
 */
export async function holdEnabled(
  tx: Tx,
  subject: { owner: Owner; virtualKeyId?: string | null },
  now: number,
): Promise<boolean> {
  const { owner, virtualKeyId } = subject;
  // The person first, as their deletion does it. A write that changes nothing locks on both databases.
  if (owner.mode === "user")
    await tx
      .updateTable("users")
      .set((user) => ({ updated_at: user.ref("updated_at") }))
      .where("id", "=", owner.id)
      .execute();
  if (virtualKeyId)
    await tx
      .updateTable("virtual_keys")
      .set((key) => ({ updated_at: key.ref("updated_at") }))
      .where("id", "=", virtualKeyId)
      .execute();
  return isIdentityEnabled(tx, subject, now);
}
