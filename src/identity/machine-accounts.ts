import { sql } from "kysely";
import { Problem, type World } from "../base/index.ts";
import type { Database, Db, Tx } from "../db/index.ts";
import type { Principal } from "./principal.ts";
import { countUsers, readUsers, toUser, type User } from "./user-rows.ts";
import type { AlsoUser, Users } from "./users.ts";

export interface ServiceAccountsParts {
  database: Database;
  world: World;
  users: Users;
}

export interface NewServiceAccount {
  name: string;
  managerId?: string;
}

/** What changes; `undefined` leaves a field as it is, `managerId: null` leaves the account to the administrators. */
export interface ServiceAccountPatch {
  name?: string;
  isActive?: boolean;
  managerId?: string | null;
}

/** Held while a name is given: rules for machines find accounts by their name, so no two have the same. */
const NAMES = ["service_account_names"];

/**
 * Identities of machines (decision 0033): accounts that never sign in, act through virtual keys and workload tokens, and are
 * looked after by a person.
 */
export class ServiceAccounts {
  readonly #database: Database;
  readonly #world: World;
  readonly #users: Users;

  constructor(parts: ServiceAccountsParts) {
    this.#database = parts.database;
    this.#world = parts.world;
    this.#users = parts.users;
  }

  /** Throws 404, also for a person's id. */
  async get(id: string, db?: Db | Tx): Promise<User> {
    const user = await this.#users.find(id, db);
    if (user?.kind !== "service") throw unknownServiceAccount();
    return user;
  }

  /** By its name, whatever its case; undefined when there is none, or only `exceptId`. */
  async findByName(
    name: string,
    db: Db | Tx = this.#database.db,
    exceptId?: string,
  ): Promise<User | undefined> {
    const row = await db
      .selectFrom("users")
      .selectAll()
      .where("kind", "=", "service")
      .where(sql<boolean>`lower(name) = lower(${name.trim()})`)
      .$if(exceptId !== undefined, (query) => query.where("id", "!=", exceptId!))
      .executeTakeFirst();
    return row && toUser(row);
  }

  /** Newest first; with `managerId` only those that this person looks after. */
  async list(filter: {
    limit: number;
    offset: number;
    search?: string;
    managerId?: string;
  }): Promise<{ accounts: User[]; total: number }> {
    const { db } = this.#database;
    const services = { ...filter, kind: "service" as const };
    return { accounts: await readUsers(db, services), total: await countUsers(db, services) };
  }

  /** Throws 400 `unknown_manager`, 409 `service_account_name_taken`. */
  async insert(tx: Tx, { name, managerId }: NewServiceAccount): Promise<User> {
    await this.#database.hold(tx, NAMES);
    await this.#refuseTaken(tx, name);
    if (managerId !== undefined) await this.#refuseManager(tx, managerId);
    const made = await this.#users.insertFrom(tx, { name, source: "api", kind: "service", managerId });
    if (!made) throw new Error("an address of its own that another account has");
    return made;
  }

  /** Throws 404, and what `insert` throws. */
  async update(id: string, patch: ServiceAccountPatch, also?: AlsoUser): Promise<User> {
    await this.get(id);
    const { name, isActive, managerId } = patch;
    await this.#users.update(id, { name, isActive }, async (tx, after) => {
      if (name !== undefined) {
        await this.#database.hold(tx, NAMES);
        await this.#refuseTaken(tx, name, id);
      }
      if (managerId) await this.#refuseManager(tx, managerId);
      if (managerId !== undefined)
        await tx.updateTable("users").set({ manager_id: managerId }).where("id", "=", id).execute();
      await also?.(tx, after);
    });
    return this.get(id);
  }

  /** Removes the account with everything that hangs on it. Throws 404. */
  async delete(id: string, also?: AlsoUser): Promise<void> {
    await this.get(id);
    await this.#users.delete(id, also);
  }

  /** The accounts of somebody who leaves are the administrators' from now on; in the transaction of that. */
  async release(tx: Tx, managerId: string): Promise<void> {
    const now = this.#world.now().getTime();
    await tx
      .updateTable("users")
      .set({ manager_id: null, updated_at: now })
      .where("manager_id", "=", managerId)
      .execute();
  }

  async #refuseTaken(tx: Tx, name: string, ownId?: string): Promise<void> {
    if (!(await this.findByName(name, tx, ownId))) return;
    throw new Problem(
      "conflict",
      "service_account_name_taken",
      "Another service account has this name. Choose a different one.",
      { param: "name" },
    );
  }

  async #refuseManager(tx: Tx, managerId: string): Promise<void> {
    const manager = await this.#users.find(managerId, tx);
    if (manager?.kind === "person" && manager.isActive) return;
    throw new Problem(
      "invalid",
      "unknown_manager",
      "A service account is looked after by a person with an active account here. Check manager_id.",
      { param: "manager_id" },
    );
  }
}

/**
 * Whether a signed-in person stands in for a service account where a person must be present: its manager does, and every
 * administrator (decision 0033). Asked of the database, because it decides who may give it an account elsewhere.
 */
export async function looksAfter(
  db: Db | Tx,
  person: Pick<User, "id" | "role"> | undefined,
  accountId: string,
): Promise<boolean> {
  if (!person) return false;
  const account = await db
    .selectFrom("users")
    .select("manager_id")
    .where("id", "=", accountId)
    .where("kind", "=", "service")
    .executeTakeFirst();
  return account !== undefined && (person.role === "admin" || account.manager_id === person.id);
}

/** The person who calls. A key acts for its owner where it is used; it looks after nothing. */
export function personOf(caller: Principal): string | undefined {
  return caller.kind === "user" || caller.kind === "api_token" ? caller.userId : undefined;
}

export function unknownServiceAccount(): Problem {
  return new Problem(
    "not_found",
    "service_account_not_found",
    "There is no such service account. List them to see which there are.",
  );
}
