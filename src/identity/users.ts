import { type Hidden, newId, Problem, type World } from "../base/index.ts";
import type { Database, Db, Tx } from "../db/index.ts";
import { checkPassword, hashPassword, verifyPassword } from "./passwords.ts";
import { countUsers, type Role, readUsers, toUser, type User, type UserFilter } from "./user-rows.ts";

/** What must follow the end of an account, in its transaction; handed over in app.ts. */
export interface UserListener {
  /** Links that would let the person in again end here. */
  switchedOff?(tx: Tx, user: User): Promise<void>;
  /** Keys, grants, credentials and links of the person end here. */
  deleted(tx: Tx, user: User): Promise<void>;
}

/** Work of the caller that belongs into the same transaction (for example its audit line). */
export type AlsoUser = (tx: Tx, user: User) => Promise<void>;

export interface NewUser {
  email: string;
  name?: string;
  role: Role;
  /** Without one the person needs a link to choose it (password-changes.ts). */
  password?: Hidden;
}

/** What changes; `undefined` leaves a field as it is. */
export interface UserPatch {
  name?: string;
  role?: Role;
  isActive?: boolean;
}

/** An account that is ready to be inserted: checked, and its password hashed outside any transaction. */
export interface PreparedUser {
  email: string;
  name: string;
  role: Role;
  passwordHash: string | null;
}

/** Whatever may change who administers waits for its turn: two must not end each other. */
export const ADMINISTRATORS = ["administrators"];

/** The people of this gateway. */
export class Users {
  readonly listeners: UserListener[] = [];
  readonly #database: Database;
  readonly #world: World;

  constructor(parts: { database: Database; world: World }) {
    this.#database = parts.database;
    this.#world = parts.world;
  }

  async find(id: string, db: Db | Tx = this.#database.db): Promise<User | undefined> {
    const row = await db.selectFrom("users").selectAll().where("id", "=", id).executeTakeFirst();
    return row && toUser(row);
  }

  /** Throws 404. */
  async get(id: string): Promise<User> {
    const user = await this.find(id);
    if (!user) throw unknownUser();
    return user;
  }

  async list(
    filter: UserFilter & { limit: number; offset: number },
  ): Promise<{ users: User[]; total: number }> {
    const { db } = this.#database;
    return { users: await readUsers(db, filter), total: await countUsers(db, filter) };
  }

  /** Whether somebody could sign in and administer. */
  async hasAdmin(db: Db | Tx = this.#database.db): Promise<boolean> {
    const row = await db
      .selectFrom("users")
      .select("id")
      .where("role", "=", "admin")
      .where("password_hash", "is not", null)
      .limit(1)
      .executeTakeFirst();
    return row !== undefined;
  }

  /** The account that e-mail and password prove, or undefined; unknown and wrong take the same time. */
  async authenticate(email: string, password: Hidden): Promise<User | undefined> {
    const row = await this.#database.db
      .selectFrom("users")
      .selectAll()
      .where("email", "=", normalEmail(email))
      .executeTakeFirst();
    const proved = await verifyPassword(password, row?.password_hash ?? undefined);
    return row && proved && row.is_active === 1 ? toUser(row) : undefined;
  }

  /** Hashes outside any transaction; hand the result to `insert`. Throws 400 for a bad e-mail or password. */
  async prepare({ email, name, role, password }: NewUser): Promise<PreparedUser> {
    const normal = normalEmail(email);
    if (!/^[^\s@]+@[^\s@]+$/.test(normal) || normal.length > 254) {
      throw new Problem("invalid", "invalid_email", "Enter an e-mail address like name@example.com.", {
        param: "email",
      });
    }
    if (password) checkPassword(password.reveal());
    const passwordHash = password ? await hashPassword(password, this.#world) : null;
    return { email: normal, name: name ?? normal.split("@")[0]!, role, passwordHash };
  }

  prepareAdmin(email: string, password: Hidden): Promise<PreparedUser> {
    return this.prepare({ email, role: "admin", password });
  }

  /** Throws 409 `email_taken`. */
  async insert(tx: Tx, { email, name, role, passwordHash }: PreparedUser): Promise<User> {
    const now = this.#world.now().getTime();
    const row = await tx
      .insertInto("users")
      .values({
        id: newId(this.#world, "user"),
        email,
        name,
        password_hash: passwordHash,
        role,
        is_active: 1,
        created_at: now,
        updated_at: now,
      })
      // Two at once: the database decides which of them has the address.
      .onConflict((conflict) => conflict.column("email").doNothing())
      .returningAll()
      .executeTakeFirst();
    if (row) return toUser(row);
    throw new Problem("conflict", "email_taken", "Another account has this e-mail address.", {
      param: "email",
    });
  }

  insertAdmin(tx: Tx, prepared: PreparedUser): Promise<User> {
    return this.insert(tx, prepared);
  }

  /** Throws 404, 409 `last_administrator`. */
  update(id: string, patch: UserPatch, also?: AlsoUser): Promise<User> {
    return this.#database.transaction(async (tx) => {
      await this.#database.hold(tx, ADMINISTRATORS);
      const before = await this.locked(tx, id);
      const now = this.#world.now().getTime();
      const after: User = {
        ...before,
        name: patch.name ?? before.name,
        role: patch.role ?? before.role,
        isActive: patch.isActive ?? before.isActive,
        updatedAt: now,
      };
      if (administers(before) && !administers(after)) await refuseLastAdmin(tx, before);
      const columns = { name: after.name, role: after.role, is_active: after.isActive ? 1 : 0 };
      await tx
        .updateTable("users")
        .set({ ...columns, updated_at: now })
        .where("id", "=", id)
        .execute();
      // Rows stay (contract section 2), what would let somebody in does not.
      if (!after.isActive) for (const listener of this.listeners) await listener.switchedOff?.(tx, after);
      await also?.(tx, after);
      await this.#database.changes.note(tx, "user", id, now);
      return after;
    });
  }

  /** Switched off, nothing of theirs works any more, on any replica, and everything stays. Throws 404, 409 `last_administrator`. */
  setActive(id: string, isActive: boolean, also?: AlsoUser): Promise<User> {
    return this.update(id, { isActive }, also);
  }

  /** Removes the account with everything that hangs on it. Throws 404, 409 `last_administrator`. */
  async delete(id: string, also?: AlsoUser): Promise<void> {
    await this.#database.transaction(async (tx) => {
      await this.#database.hold(tx, ADMINISTRATORS);
      const user = await this.locked(tx, id);
      if (administers(user)) await refuseLastAdmin(tx, user);
      await also?.(tx, user);
      for (const listener of this.listeners) await listener.deleted(tx, user);
      await endSessions(tx, id);
      await tx.deleteFrom("api_tokens").where("user_id", "=", id).execute();
      await tx.deleteFrom("users").where("id", "=", id).execute();
      await this.#database.changes.note(tx, "user", id, this.#world.now().getTime());
    });
  }

  /** The person, whom nobody else changes until the transaction ends: a write that changes nothing locks on both databases. Throws 404. */
  async locked(tx: Tx, id: string): Promise<User> {
    const row = await tx
      .updateTable("users")
      .set((user) => ({ updated_at: user.ref("updated_at") }))
      .where("id", "=", id)
      .returningAll()
      .executeTakeFirst();
    if (row) return toUser(row);
    throw unknownUser();
  }
}

/** Signs the person out everywhere. */
export async function endSessions(tx: Tx, userId: string): Promise<void> {
  await tx.deleteFrom("dashboard_sessions").where("user_id", "=", userId).execute();
}

/** Who was invited and has not chosen a password could not let anybody in again. */
function administers(user: User): boolean {
  return user.role === "admin" && user.isActive && user.hasPassword;
}

async function refuseLastAdmin(tx: Tx, user: User): Promise<void> {
  const other = await tx
    .selectFrom("users")
    .select("id")
    .where("role", "=", "admin")
    .where("is_active", "=", 1)
    .where("password_hash", "is not", null)
    .where("id", "!=", user.id)
    .limit(1)
    .executeTakeFirst();
  if (other) return;
  throw new Problem(
    "conflict",
    "last_administrator",
    "This is the last administrator who can sign in. Make another one first.",
  );
}

function unknownUser(): Problem {
  return new Problem("not_found", "user_not_found", "There is no such user. Check the id.");
}

function normalEmail(email: string): string {
  return email.trim().normalize("NFC").toLowerCase();
}
