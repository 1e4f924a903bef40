import { sql } from "kysely";
import type { Db, Row, Tx } from "../db/index.ts";
import { likeLiteral } from "../http/index.ts";

export type Role = "admin" | "member";

/** A person. Times in milliseconds since 1970. */
export interface User {
  id: string;
  email: string;
  name: string;
  role: Role;
  isActive: boolean;
  /** False until the person has used their set-up link. */
  hasPassword: boolean;
  createdAt: number;
  updatedAt: number;
}

export interface UserFilter {
  /** Part of the name or the e-mail; case does not count. */
  search?: string;
  role?: Role;
  isActive?: boolean;
}

/** One page, newest first. */
export async function readUsers(
  db: Db | Tx,
  filter: UserFilter & { limit: number; offset: number },
): Promise<User[]> {
  const rows = await matching(db, filter)
    .selectAll()
    .orderBy("created_at", "desc")
    .orderBy("id", "desc")
    .limit(filter.limit)
    .offset(filter.offset)
    .execute();
  return rows.map(toUser);
}

export async function countUsers(db: Db | Tx, filter: UserFilter): Promise<number> {
  const { count } = await matching(db, filter)
    .select((expression) => expression.fn.countAll<number>().as("count"))
    .executeTakeFirstOrThrow();
  return Number(count);
}

function matching(db: Db | Tx, { search, role, isActive }: UserFilter) {
  const like = `%${likeLiteral(search?.toLowerCase() ?? "")}%`;
  return db
    .selectFrom("users")
    .$if(role !== undefined, (query) => query.where("role", "=", role!))
    .$if(isActive !== undefined, (query) => query.where("is_active", "=", isActive ? 1 : 0))
    .$if(search !== undefined, (query) =>
      query.where(sql<boolean>`(lower(name) like ${like} escape '\\' or email like ${like} escape '\\')`),
    );
}

export function toUser(row: Row<"users">): User {
  return {
    id: row.id,
    email: row.email,
    name: row.name,
    role: row.role,
    isActive: row.is_active === 1,
    hasPassword: row.password_hash !== null,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
