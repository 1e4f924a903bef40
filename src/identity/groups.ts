import { sql } from "kysely";
import { newId, Problem, type World } from "../base/index.ts";
import { BATCH_ROWS, type Database, type Db, type NewRow, type Tx } from "../db/index.ts";
import { refuseNoAdministrator } from "./administrators.ts";
import { settleRoles } from "./group-roles.ts";
import {
  countGroups,
  countMembers,
  type Group,
  type GroupFilter,
  type Member,
  type Page,
  readGroups,
  readGroupsOf,
  readMembers,
  toGroup,
} from "./group-rows.ts";
import type { Role } from "./user-rows.ts";
import { ADMINISTRATORS } from "./users.ts";

export type { Group };

/** Told in the transaction that changed who is in which group, or what a group gives: what these people may use is another now. */
export type GroupListener = (tx: Tx, userIds: readonly string[]) => Promise<void>;

export interface NewGroup {
  name: string;
  description?: string;
  role?: Role;
  source: string;
  externalId?: string;
}

/** What changes; `undefined` leaves a field as it is, `null` takes the value away. */
export interface GroupPatch {
  name?: string;
  description?: string;
  role?: Role | null;
  externalId?: string | null;
}

/**
 * Groups and who is in them. What a group may use is access/'s business. Whatever writes waits for its turn with everything
 * that may change who administers: of two changes of one person's groups, the second sees the first.
 */
export class Groups {
  readonly listeners: GroupListener[] = [];
  readonly #database: Database;
  readonly #world: World;

  constructor(parts: { database: Database; world: World }) {
    this.#database = parts.database;
    this.#world = parts.world;
  }

  async find(id: string, db: Db | Tx = this.#database.db): Promise<Group | undefined> {
    const row = await db.selectFrom("groups").selectAll().where("id", "=", id).executeTakeFirst();
    return row && toGroup(row);
  }

  async findByName(name: string, db: Db | Tx = this.#database.db): Promise<Group | undefined> {
    const row = await db.selectFrom("groups").selectAll().where("name", "=", name).executeTakeFirst();
    return row && toGroup(row);
  }

  /** Throws 404 `group_not_found`. */
  async get(id: string, db: Db | Tx = this.#database.db): Promise<Group> {
    const group = await this.find(id, db);
    if (group) return group;
    throw new Problem("not_found", "group_not_found", "There is no such group. List them to find its id.");
  }

  async list(filter: GroupFilter & Page): Promise<{ groups: Group[]; total: number }> {
    const { db } = this.#database;
    return { groups: await readGroups(db, filter), total: await countGroups(db, filter) };
  }

  sizes(groupIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
    return countMembers(this.#database.db, groupIds);
  }

  members(
    groupId: string,
    page: Page & { search?: string },
    db: Db | Tx = this.#database.db,
  ): Promise<{ members: Member[]; total: number }> {
    return readMembers(db, groupId, page);
  }

  /** The ids of everybody who is in. */
  async memberIds(groupId: string, db: Db | Tx = this.#database.db): Promise<string[]> {
    const rows = await db
      .selectFrom("group_members")
      .select("user_id")
      .where("group_id", "=", groupId)
      .execute();
    return rows.map(({ user_id }) => user_id);
  }

  /** The groups of each of these people, by name. */
  ofUsers(
    userIds: readonly string[],
    db: Db | Tx = this.#database.db,
  ): Promise<ReadonlyMap<string, readonly Group[]>> {
    return readGroupsOf(db, userIds);
  }

  /** Throws 409 `group_name_taken`. */
  async insert(tx: Tx, group: NewGroup): Promise<Group> {
    await this.#database.hold(tx, ADMINISTRATORS);
    const now = this.#world.now().getTime();
    const row = await tx
      .insertInto("groups")
      .values({
        id: newId(this.#world, "group"),
        name: group.name,
        description: group.description ?? "",
        role: group.role ?? null,
        source: group.source,
        external_id: group.externalId ?? null,
        created_at: now,
        updated_at: now,
      })
      .onConflict((conflict) => conflict.column("name").doNothing())
      .returningAll()
      .executeTakeFirst();
    if (row) return toGroup(row);
    throw nameTaken();
  }

  /** Throws 404 `group_not_found`, 409 `group_name_taken`, `last_administrator`. */
  async update(tx: Tx, id: string, { name, description, role, externalId }: GroupPatch): Promise<Group> {
    const before = await this.locked(tx, id);
    if (name !== undefined && name !== before.name && (await this.findByName(name, tx))) throw nameTaken();
    const row = await tx
      .updateTable("groups")
      .set({
        ...(name === undefined ? {} : { name }),
        ...(description === undefined ? {} : { description }),
        ...(role === undefined ? {} : { role }),
        ...(externalId === undefined ? {} : { external_id: externalId }),
        updated_at: this.#world.now().getTime(),
      })
      .where("id", "=", id)
      .returningAll()
      .executeTakeFirstOrThrow();
    if ((role ?? undefined) !== before.role && role !== undefined)
      await this.#settle(tx, await this.memberIds(id, tx));
    return toGroup(row);
  }

  /** Removes the group with what it gives. Throws 404 `group_not_found`, 409 `last_administrator`. */
  async delete(tx: Tx, id: string): Promise<Group> {
    const group = await this.locked(tx, id);
    const members = await this.memberIds(id, tx);
    await tx.deleteFrom("groups").where("id", "=", id).execute();
    await this.changed(tx, members);
    return group;
  }

  /** The group, which nobody else changes until the transaction ends. Throws 404. */
  async locked(tx: Tx, id: string): Promise<Group> {
    await this.#database.hold(tx, ADMINISTRATORS);
    return this.get(id, tx);
  }

  /**
   * The members change by these; who is in already stays as they are. Who came and who went. Throws 400 `unknown_user`, 409
   * `last_administrator`.
   */
  async change(
    tx: Tx,
    groupId: string,
    members: { add?: readonly string[]; remove?: readonly string[]; via: string },
  ): Promise<{ added: string[]; removed: string[] }> {
    await this.#database.hold(tx, ADMINISTRATORS);
    const added: string[] = [];
    const removed: string[] = [];
    for (const ids of batchesOf(members.add ?? []))
      added.push(...(await this.#add(tx, groupId, ids, members.via)));
    for (const ids of batchesOf(members.remove ?? [])) {
      const gone = await tx
        .deleteFrom("group_members")
        .where("group_id", "=", groupId)
        .where("user_id", "in", ids)
        .returning("user_id")
        .execute();
      removed.push(...gone.map(({ user_id }) => user_id));
    }
    await this.changed(tx, [...added, ...removed]);
    return { added, removed };
  }

  /** These, and nobody else, are in. As `change`. */
  async replace(
    tx: Tx,
    groupId: string,
    userIds: readonly string[],
    via: string,
  ): Promise<{ added: string[]; removed: string[] }> {
    await this.#database.hold(tx, ADMINISTRATORS);
    const wanted = new Set(userIds);
    const remove = (await this.memberIds(groupId, tx)).filter((id) => !wanted.has(id));
    return this.change(tx, groupId, { add: [...wanted], remove, via });
  }

  async #add(tx: Tx, groupId: string, ids: readonly string[], via: string): Promise<string[]> {
    const known = await tx.selectFrom("users").select("id").where("id", "in", ids).execute();
    if (known.length < new Set(ids).size) {
      throw new Problem("invalid", "unknown_user", "There is no user with one of these ids.", {
        param: "user_ids",
      });
    }
    const rows = known.map(({ id }) => ({ group_id: groupId, user_id: id, via }));
    return (await putIn(tx, rows)).map(({ user_id }) => user_id);
  }

  /**
   * The person is in these of the groups that `via` put them in, and in no other of those; names that no group has are passed
   * over. Returns the ids of the groups they came into and left.
   */
  async sync(
    tx: Tx,
    userId: string,
    names: readonly string[],
    via: string,
  ): Promise<{ added: string[]; removed: string[] }> {
    const wanted = await idsOf(tx, names);
    const before = await tx
      .selectFrom("group_members")
      .select(["group_id", "via"])
      .where("user_id", "=", userId)
      .execute();
    const known = new Set(
      before.filter((member) => !givesWay(member.via, via)).map((member) => member.group_id),
    );
    const gone = before.filter((member) => member.via === via && !wanted.has(member.group_id));
    const added = [...wanted].filter((id) => !known.has(id));
    if (gone.length === 0 && added.length === 0) return { added: [], removed: [] };
    await this.#database.hold(tx, ADMINISTRATORS);
    for (const ids of batchesOf(gone.map((member) => member.group_id)))
      await tx
        .deleteFrom("group_members")
        .where("user_id", "=", userId)
        .where("via", "=", via)
        .where("group_id", "in", ids)
        .execute();
    // Read again: a group may have been deleted while this waited for its turn.
    const still = added.length === 0 ? added : [...(await idsOf(tx, names))].filter((id) => !known.has(id));
    const come = await putIn(
      tx,
      still.map((group_id) => ({ group_id, user_id: userId, via })),
    );
    await this.changed(tx, [userId]);
    return {
      added: come.map(({ group_id }) => group_id),
      removed: gone.map((member) => member.group_id),
    };
  }

  /** To be called in the transaction that changed what these people have by their groups. Throws 409 `last_administrator`. */
  async changed(tx: Tx, userIds: readonly string[]): Promise<void> {
    await this.#settle(tx, userIds);
    for (const listener of this.listeners) for (const ids of batchesOf(userIds)) await listener(tx, ids);
    const now = this.#world.now().getTime();
    for (const userId of userIds) await this.#database.changes.note(tx, "access", userId, now);
  }

  /** The same for everybody who is in. */
  async gives(tx: Tx, groupId: string): Promise<void> {
    await this.changed(tx, await this.memberIds(groupId, tx));
  }

  async #settle(tx: Tx, userIds: readonly string[]): Promise<void> {
    const { raised, lowered } = await settleRoles(tx, userIds);
    await refuseNoAdministrator(tx, lowered);
    const now = this.#world.now().getTime();
    for (const id of [...raised, ...lowered]) await this.#database.changes.note(tx, "user", id, now);
  }
}

/** An audit line names as many as fit into it, and counts all. */
const MOST_NAMED = 100;

/** Who came and went, for the audit trail. */
export function shownMoves({ added, removed }: { added: readonly string[]; removed: readonly string[] }) {
  return {
    added: added.slice(0, MOST_NAMED),
    removed: removed.slice(0, MOST_NAMED),
    added_count: added.length,
    removed_count: removed.length,
  };
}

async function idsOf(tx: Tx, names: readonly string[]): Promise<Set<string>> {
  const found = new Set<string>();
  for (const some of batchesOf(names)) {
    const rows = await tx.selectFrom("groups").select("id").where("name", "in", some).execute();
    for (const { id } of rows) found.add(id);
  }
  return found;
}

function* batchesOf<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += BATCH_ROWS) yield all.slice(at, at + BATCH_ROWS);
}

function nameTaken(): Problem {
  return new Problem("conflict", "group_name_taken", "Another group has this name. Choose a different one.", {
    param: "name",
  });
}

/** Whoever puts somebody in whom only a JWT did answers for it from then on: a token's word makes no administrator. */
function givesWay(present: string, via: string): boolean {
  return present.startsWith("jwt:") && !via.startsWith("jwt:");
}

/** Who was not in, or whose place is another's now. */
async function putIn(
  tx: Tx,
  rows: readonly NewRow<"group_members">[],
): Promise<{ group_id: string; user_id: string }[]> {
  if (rows.length === 0) return [];
  return tx
    .insertInto("group_members")
    .values([...rows])
    .onConflict((conflict) =>
      conflict
        .columns(["group_id", "user_id"])
        .doUpdateSet({ via: sql`excluded.via` })
        .where(sql<boolean>`group_members.via like 'jwt:%' and excluded.via not like 'jwt:%'`),
    )
    .returning(["group_id", "user_id"])
    .execute();
}
