import { type Hidden, newId, Problem, type World } from "../base/index.ts";
import type { Database, Db, Row, Tx } from "../db/index.ts";
import { checkPassword, hashPassword, verifyPassword } from "./passwords.ts";

export interface User {
  id: string;
  email: string;
  name: string;
  role: "admin" | "member";
  isActive: boolean;
}

/** What must follow the end of an account, in its transaction; handed over in app.ts. */
export interface UserListener {
  /** Keys, grants, credentials and links of the person end here. */
  deleted(tx: Tx, user: User): Promise<void>;
}

/** Work of the caller that belongs into the same transaction (for example its audit line). */
export type AlsoUser = (tx: Tx, user: User) => Promise<void>;

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

  async hasAdmin(db: Db | Tx = this.#database.db): Promise<boolean> {
    const row = await db
      .selectFrom("users")
      .select("id")
      .where("role", "=", "admin")
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

  /** Hashes outside any transaction; hand the result to `insertAdmin`. Throws 400 for a bad e-mail or password. */
  async prepareAdmin(email: string, password: Hidden): Promise<{ email: string; passwordHash: string }> {
    const normal = normalEmail(email);
    if (!/^[^\s@]+@[^\s@]+$/.test(normal) || normal.length > 254) {
      throw new Problem("invalid", "invalid_email", "Enter an e-mail address like name@example.com.", {
        param: "email",
      });
    }
    checkPassword(password.reveal());
    return { email: normal, passwordHash: await hashPassword(password, this.#world) };
  }

  /** Switched off, nothing of theirs works any more, on any replica, and everything stays. Throws 404, 409 `last_administrator`. */
  async setActive(id: string, isActive: boolean, also?: AlsoUser): Promise<User> {
    return this.#database.transaction(async (tx) => {
      const user = await this.#locked(tx, id);
      if (!isActive) await refuseLastAdmin(tx, user);
      const now = this.#world.now().getTime();
      const columns = { is_active: isActive ? 1 : 0, updated_at: now };
      await tx.updateTable("users").set(columns).where("id", "=", id).execute();
      await also?.(tx, user);
      await this.#database.changes.note(tx, "user", id, now);
      return { ...user, isActive };
    });
  }

  /** Removes the account with everything that hangs on it. Throws 404, 409 `last_administrator`. */
  async delete(id: string, also?: AlsoUser): Promise<void> {
    await this.#database.transaction(async (tx) => {
      const user = await this.#locked(tx, id);
      await refuseLastAdmin(tx, user);
      await also?.(tx, user);
      for (const listener of this.listeners) await listener.deleted(tx, user);
      await tx.deleteFrom("dashboard_sessions").where("user_id", "=", id).execute();
      await tx.deleteFrom("users").where("id", "=", id).execute();
      await this.#database.changes.note(tx, "user", id, this.#world.now().getTime());
    });
  }

  /** A write that changes nothing, because it locks on both databases. */
  async #locked(tx: Tx, id: string): Promise<User> {
    const row = await tx
      .updateTable("users")
      .set((user) => ({ updated_at: user.ref("updated_at") }))
      .where("id", "=", id)
      .returningAll()
      .executeTakeFirst();
    if (row) return toUser(row);
    throw new Problem("not_found", "user_not_found", "There is no such user. Check the id.");
  }

  async insertAdmin(tx: Tx, prepared: { email: string; passwordHash: string }): Promise<User> {
    const now = this.#world.now().getTime();
    const row = await tx
      .insertInto("users")
      .values({
        id: newId(this.#world, "user"),
        email: prepared.email,
        name: prepared.email.split("@")[0]!,
        password_hash: prepared.passwordHash,
        role: "admin",
        is_active: 1,
        created_at: now,
        updated_at: now,
      })
      .returningAll()
      .executeTakeFirstOrThrow();
    return toUser(row);
  }
}

/** Nobody could let anybody in again. Locks the others, so that two do not end each other. */
async function refuseLastAdmin(tx: Tx, user: User): Promise<void> {
  if (user.role !== "admin") return;
  const others = await tx
    .updateTable("users")
    .set((row) => ({ updated_at: row.ref("updated_at") }))
    .where("role", "=", "admin")
    .where("is_active", "=", 1)
    .where("id", "!=", user.id)
    .returning("id")
    .execute();
  if (others.length > 0) return;
  throw new Problem(
    "conflict",
    "last_administrator",
    "This is the last administrator who can sign in. Make another one first.",
  );
}

function normalEmail(email: string): string {
  return email.trim().normalize("NFC").toLowerCase();
}

function toUser(row: Row<"users">): User {
  return { id: row.id, email: row.email, name: row.name, role: row.role, isActive: row.is_active === 1 };
}
