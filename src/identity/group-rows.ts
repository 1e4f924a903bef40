import { sql } from "kysely";
import type { Db, Row, Tx } from "../db/index.ts";
import { likeLiteral } from "../http/index.ts";
import { type Role, toUser, type User } from "./user-rows.ts";

/** People with something in common. Times in milliseconds since 1970. */
export interface Group {
  id: string;
  name: string;
  description: string;
  /** What its members are at least. */
  role?: Role;
  source: string;
  externalId?: string;
  createdAt: number;
  updatedAt: number;
}

export interface GroupFilter {
  /** Part of the name; case does not count. */
  search?: string;
  source?: string;
}

export interface Page {
  limit: number;
  offset: number;
}

/** `via`: who put the person in (contract section 2; db/people-tables.ts). */
export interface Member {
  user: User;
  via: string;
}

/** One page, by name. */
export async function readGroups(db: Db | Tx, filter: GroupFilter & Page): Promise<Group[]> {
  const rows = await matching(db, filter)
    .selectAll()
    .orderBy("name")
    .limit(filter.limit)
    .offset(filter.offset)
    .execute();
  return rows.map(toGroup);
}

export async function countGroups(db: Db | Tx, filter: GroupFilter): Promise<number> {
  const { count } = await matching(db, filter)
    .select((expression) => expression.fn.countAll<number>().as("count"))
    .executeTakeFirstOrThrow();
  return Number(count);
}

function matching(db: Db | Tx, { search, source }: GroupFilter) {
  const like = `%${likeLiteral(search?.toLowerCase() ?? "")}%`;
  return db
    .selectFrom("groups")
    .$if(source !== undefined, (query) => query.where("source", "=", source!))
    .$if(search !== undefined, (query) => query.where(sql<boolean>`lower(name) like ${like} escape '\\'`));
}

/** How many are in each; one statement. */
export async function countMembers(
  db: Db | Tx,
  groupIds: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  if (groupIds.length === 0) return new Map();
  const rows = await db
    .selectFrom("group_members")
    .select(["group_id", (expression) => expression.fn.countAll<number>().as("count")])
    .where("group_id", "in", [...groupIds])
    .groupBy("group_id")
    .execute();
  return new Map(rows.map(({ group_id, count }) => [group_id, Number(count)]));
}

/** One page of who is in, by e-mail address, and how many there are. */
export async function readMembers(
  db: Db | Tx,
  groupId: string,
  { limit, offset, search }: Page & { search?: string },
): Promise<{ members: Member[]; total: number }> {
  const like = `%${likeLiteral(search?.toLowerCase() ?? "")}%`;
  const all = db
    .selectFrom("group_members")
    .innerJoin("users", "users.id", "group_members.user_id")
    .where("group_id", "=", groupId)
    .$if(search !== undefined, (query) =>
      query.where(sql<boolean>`(lower(name) like ${like} escape '\\' or email like ${like} escape '\\')`),
    );
  const rows = await all
    .selectAll("users")
    .select("via")
    .orderBy("email")
    .limit(limit)
    .offset(offset)
    .execute();
  const { count } = await all
    .select((expression) => expression.fn.countAll<number>().as("count"))
    .executeTakeFirstOrThrow();
  return { members: rows.map((row) => ({ user: toUser(row), via: row.via })), total: Number(count) };
}

/** The groups of each of these people, by name; one statement. */
export async function readGroupsOf(
  db: Db | Tx,
  userIds: readonly string[],
): Promise<ReadonlyMap<string, readonly Group[]>> {
  if (userIds.length === 0) return new Map();
  const rows = await db
    .selectFrom("group_members")
    .innerJoin("groups", "groups.id", "group_members.group_id")
    .selectAll("groups")
    .select("user_id")
    .where("user_id", "in", [...userIds])
    .orderBy("name")
    .execute();
  return new Map(
    [...Map.groupBy(rows, ({ user_id }) => user_id)].map(([userId, own]) => [userId, own.map(toGroup)]),
  );
}

export function toGroup(row: Row<"groups">): Group {
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    role: row.role ?? undefined,
    source: row.source,
    externalId: row.external_id ?? undefined,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
