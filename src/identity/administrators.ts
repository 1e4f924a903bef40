import { Problem } from "../base/index.ts";
import { BATCH_ROWS, type Db, type Tx } from "../db/index.ts";
import type { User } from "./user-rows.ts";

/** Whether the person has something to sign in with: a password, a passkey, or an identity elsewhere. An invitation is nothing yet. */
export async function canSignIn(db: Db | Tx, userId: string): Promise<boolean> {
  return (await whoSignIn(db).where("users.id", "=", userId).executeTakeFirst()) !== undefined;
}

/** Whether somebody could sign in and administer, switched off or not. */
export async function hasAdministrator(db: Db | Tx): Promise<boolean> {
  return (await whoSignIn(db).where("users.role", "=", "admin").limit(1).executeTakeFirst()) !== undefined;
}

/** Before `user` stops being one: throws 409 `last_administrator` when nobody else could sign in and administer. */
export async function refuseLastAdministrator(tx: Tx, user: Pick<User, "id">): Promise<void> {
  if (!(await canSignIn(tx, user.id))) return;
  const other = await whoSignIn(tx)
    .where("users.role", "=", "admin")
    .where("users.is_active", "=", 1)
    .where("users.id", "!=", user.id)
    .limit(1)
    .executeTakeFirst();
  if (!other) throw lastAdministrator();
}

/** After these people stopped being administrators: throws 409 `last_administrator` when they were all who could sign in. */
export async function refuseNoAdministrator(tx: Tx, lowered: readonly string[]): Promise<void> {
  if (lowered.length === 0) return;
  const active = whoSignIn(tx).where("users.is_active", "=", 1).limit(1);
  if (await active.where("users.role", "=", "admin").executeTakeFirst()) return;
  for (let at = 0; at < lowered.length; at += BATCH_ROWS) {
    const some = active.where("users.id", "in", lowered.slice(at, at + BATCH_ROWS));
    if (await some.executeTakeFirst()) throw lastAdministrator();
  }
}

function lastAdministrator(): Problem {
  return new Problem(
    "conflict",
    "last_administrator",
    "This is the last administrator who can sign in. Make another one first.",
  );
}

/** Machines never do. */
function whoSignIn(db: Db | Tx) {
  return db
    .selectFrom("users")
    .select("users.id")
    .where("users.kind", "=", "person")
    .where(({ or, eb, exists, selectFrom }) =>
      or([
        eb("users.password_hash", "is not", null),
        exists(selectFrom("passkeys").select("passkeys.id").whereRef("passkeys.user_id", "=", "users.id")),
        exists(
          selectFrom("user_identities")
            .select("user_identities.id")
            .whereRef("user_identities.user_id", "=", "users.id")
            // A token of an issuer opens no browser session.
            .where("user_identities.provider", "like", "sso:%"),
        ),
      ]),
    );
}
