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

/** The people of this gateway. */
export class Users {
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

function normalEmail(email: string): string {
  return email.trim().normalize("NFC").toLowerCase();
}

function toUser(row: Row<"users">): User {
  return { id: row.id, email: row.email, name: row.name, role: row.role, isActive: row.is_active === 1 };
}
