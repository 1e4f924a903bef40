import { sql } from "kysely";
import type { Db, Row, Tx } from "../db/index.ts";
import { likeLiteral } from "../http/index.ts";

export type Role = "admin" | "member";

/** A person. Times in milliseconds since 1970. */
export interface User {
  id: string;
  email: string;
  name: string;
  /** What counts: their own, or what a group makes of them (group-roles.ts). */
  role: Role;
  /** What the person is without their groups. */
  ownRole: Role;
  isActive: boolean;
  /** `service`: a machine's identity; it never signs in. */
  kind: "person" | "service";
  /** Who looks after a service account. */
  managerId?: string;
  /** Who made the account, and keeps it: `api`, `scim`, `sso:<id>`, `jwt:<issuer>`. */
  source: string;
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
  kind?: User["kind"];
  /** Only what this person looks after. */
  managerId?: string;
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

function matching(db: Db | Tx, { search, role, isActive, kind, managerId }: UserFilter) {
  const like = `%${likeLiteral(search?.toLowerCase() ?? "")}%`;
  return db
    .selectFrom("users")
    .$if(role !== undefined, (query) => query.where("role", "=", role!))
    .$if(isActive !== undefined, (query) => query.where("is_active", "=", isActive ? 1 : 0))
    .$if(kind !== undefined, (query) => query.where("kind", "=", kind!))
    .$if(managerId !== undefined, (query) => query.where("manager_id", "=", managerId!))
    .$if(search !== undefined, (query) =>
      // The address of a machine's account is made up.
      query.where(sql<boolean>`(lower(name) like ${like} escape '\\'
        or (kind = 'person' and email like ${like} escape '\\'))`),
    );
}

export function toUser(row: Row<"users">): User {
  return {
    id: row.id,
    email: row.email,
    name: row.name,
    role: row.role,
    ownRole: row.own_role ?? row.role,
    isActive: row.is_active === 1,
    kind: row.kind,
    managerId: row.manager_id ?? undefined,
    source: row.source,
    hasPassword: row.password_hash !== null,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
