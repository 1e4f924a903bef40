import { type Hidden, newId, Problem, type World } from "../base/index.ts";
import type { Database, Db, Tx } from "../db/index.ts";
import { hasAdministrator, refuseLastAdministrator } from "./administrators.ts";
import { roleColumns, rolesOf } from "./group-roles.ts";
import { PasswordPolicy, type PasswordPolicyParts } from "./password-policy.ts";
import { hashPassword } from "./passwords.ts";
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

/** What a provisioning client says of an account beside its address and name (RFC 7643 §4.1). */
export interface Provisioned {
  /** Null where the address is it. */
  userName: string | null;
  externalId: string | null;
  isActive: boolean;
  /** The rest of the resource, as JSON. */
  scim: string;
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
  readonly #policy: PasswordPolicy;

  constructor(parts: { database: Database } & PasswordPolicyParts) {
    this.#database = parts.database;
    this.#world = parts.world;
    this.#policy = new PasswordPolicy(parts);
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
  hasAdmin(db: Db | Tx = this.#database.db): Promise<boolean> {
    return hasAdministrator(db);
  }

  /** Hashes outside any transaction; hand the result to `insert`. Throws 400 for a bad e-mail or password. */
  async prepare({ email, name, role, password }: NewUser): Promise<PreparedUser> {
    const normal = normalEmail(email);
    if (!/^[^\s@]+@[^\s@]+$/.test(normal) || normal.length > 254) {
      throw new Problem("invalid", "invalid_email", "Enter an e-mail address like name@example.com.", {
        param: "email",
      });
    }
    if (password) await this.#policy.check(password, { email: normal, name });
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

  /**
   * An account that somebody else vouches for; undefined when its address is another's. Who has none gets one that reaches
   * nobody (RFC 2606 §2): an address tells people apart for people, and for nothing else.
   */
  async insertFrom(
    tx: Tx,
    said: {
      email?: string;
      name?: string;
      source: string;
      kind?: "person" | "service";
      managerId?: string;
      provisioned?: Provisioned;
    },
  ): Promise<User | undefined> {
    const now = this.#world.now().getTime();
    const id = newId(this.#world, "user");
    const email = normalEmail(said.email ?? `${id}@users.invalid`);
    const row = await tx
      .insertInto("users")
      .values({
        id,
        email,
        name: (said.name ?? email.split("@")[0]!).slice(0, 128),
        password_hash: null,
        role: "member",
        is_active: 1,
        kind: said.kind ?? "person",
        manager_id: said.managerId ?? null,
        source: said.source,
        ...(said.provisioned && provisionedColumns(said.provisioned)),
        created_at: now,
        updated_at: now,
      })
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .executeTakeFirst();
    return row && toUser(row);
  }

  /** The person in this role of their own from now on; a group may make them more. Throws 409 `last_administrator`. */
  async inRole(tx: Tx, user: User, role: Role): Promise<User> {
    if (user.ownRole === role) return user;
    await this.#database.hold(tx, ADMINISTRATORS);
    const roles = await rolesOf(tx, user.id, role);
    if (administers(user) && roles.role !== "admin") await refuseLastAdministrator(tx, user);
    const now = this.#world.now().getTime();
    const changed = { ...roleColumns(roles), updated_at: now };
    await tx.updateTable("users").set(changed).where("id", "=", user.id).execute();
    await this.#database.changes.note(tx, "user", user.id, now);
    return { ...user, ...roles, updatedAt: now };
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
        ...(await rolesOf(tx, id, patch.role ?? before.ownRole)),
        isActive: patch.isActive ?? before.isActive,
        updatedAt: now,
      };
      if (administers(before) && !administers(after)) await refuseLastAdministrator(tx, before);
      const columns = { name: after.name, ...roleColumns(after), is_active: after.isActive ? 1 : 0 };
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

  /**
   * The account as a provisioning client says it is, and the client's from now on. Throws 404, 409 `user_name_taken`,
   * `last_administrator`.
   */
  async provision(
    tx: Tx,
    id: string,
    { email, ...said }: Provisioned & { email: string; name: string },
  ): Promise<User> {
    const before = await this.inTurn(tx, id);
    await refuseTaken(tx, id, email, said.userName);
    const now = Math.max(this.#world.now().getTime(), before.updatedAt + 1);
    const after = { ...before, isActive: said.isActive };
    if (administers(before) && !administers(after)) await refuseLastAdministrator(tx, before);
    const row = await tx
      .updateTable("users")
      .set({ ...provisionedColumns(said), email, name: said.name, source: "scim", updated_at: now })
      .where("id", "=", id)
      .returningAll()
      .executeTakeFirstOrThrow();
    const user = toUser(row);
    if (!user.isActive) for (const listener of this.listeners) await listener.switchedOff?.(tx, user);
    await this.#database.changes.note(tx, "user", id, now);
    return user;
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
      if (administers(user)) await refuseLastAdministrator(tx, user);
      await also?.(tx, user);
      for (const listener of this.listeners) await listener.deleted(tx, user);
      await endSessions(tx, id);
      await tx.deleteFrom("api_tokens").where("user_id", "=", id).execute();
      await tx.deleteFrom("users").where("id", "=", id).execute();
      await this.#database.changes.note(tx, "user", id, this.#world.now().getTime());
    });
  }

  /** The same, for a change that may say who administers: it waits for its turn with all of those. Throws 404. */
  async inTurn(tx: Tx, id: string): Promise<User> {
    await this.#database.hold(tx, ADMINISTRATORS);
    return this.locked(tx, id);
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

function administers(user: User): boolean {
  return user.role === "admin" && user.isActive && user.kind === "person";
}

function provisionedColumns({ userName, externalId, isActive, scim }: Provisioned) {
  return { user_name: userName, external_id: externalId, is_active: isActive ? 1 : 0, scim_json: scim };
}

async function refuseTaken(tx: Tx, id: string, email: string, userName: string | null): Promise<void> {
  const other = await tx
    .selectFrom("users")
    .select("id")
    .where("id", "!=", id)
    .where(({ or, eb }) =>
      or([eb("email", "=", email), ...(userName === null ? [] : [eb("user_name", "=", userName)])]),
    )
    .limit(1)
    .executeTakeFirst();
  if (other) throw nameTaken();
}

/** Another account has the name or the address that an account is to have. */
export function nameTaken(): Problem {
  return new Problem(
    "conflict",
    "user_name_taken",
    "Another account has this userName, or this e-mail address. Find that one by a filter on userName, and change it by its id.",
    { param: "userName" },
  );
}

function unknownUser(): Problem {
  return new Problem("not_found", "user_not_found", "There is no such user. Check the id.");
}

/** How addresses are compared, and kept. */
export function normalEmail(email: string): string {
  return email.trim().normalize("NFC").toLowerCase();
}
