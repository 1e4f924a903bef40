import { sql } from "kysely";
import { BATCH_ROWS, type Tx } from "../db/index.ts";
import type { Role } from "./user-rows.ts";

/** `role` counts; `ownRole` is what the person is without their groups. */
export interface Roles {
  role: Role;
  ownRole: Role;
}

/**
 * Whether a group makes the person an administrator. A service account signs in nowhere, and administers nothing. Nor does a
 * group that only a JWT named: an administrator is who `allow` makes one (contract section 9).
 */
const lifted = sql<boolean>`(kind = 'person' and exists (
  select 1 from group_members inner join groups on groups.id = group_members.group_id
  where group_members.user_id = users.id and groups.role = 'admin' and group_members.via not like 'jwt:%'
))`;

/** What somebody with this role of their own counts as. */
export async function rolesOf(tx: Tx, userId: string, ownRole: Role): Promise<Roles> {
  if (ownRole === "admin") return { role: ownRole, ownRole };
  const row = await tx
    .selectFrom("users")
    .select("id")
    .where("id", "=", userId)
    .where(lifted)
    .executeTakeFirst();
  return { role: row ? "admin" : ownRole, ownRole };
}

/** As columns: `own_role` says something only where a group makes the difference. */
export function roleColumns({ role, ownRole }: Roles): { role: Role; own_role: Role | null } {
  return { role, own_role: role === ownRole ? null : ownRole };
}

/** Makes the stored roles of these people what their groups say now. Whose became another. */
export async function settleRoles(
  tx: Tx,
  userIds: readonly string[],
): Promise<{ raised: string[]; lowered: string[] }> {
  const raised: string[] = [];
  const lowered: string[] = [];
  for (let at = 0; at < userIds.length; at += BATCH_ROWS) {
    const ids = userIds.slice(at, at + BATCH_ROWS);
    const up = await tx
      .updateTable("users")
      .set({ own_role: "member", role: "admin" })
      .where("id", "in", ids)
      .where("role", "=", "member")
      .where(lifted)
      .returning("id")
      .execute();
    const down = await tx
      .updateTable("users")
      .set({ own_role: null, role: "member" })
      .where("id", "in", ids)
      .where("own_role", "is not", null)
      .where(({ not }) => not(lifted))
      .returning("id")
      .execute();
    raised.push(...up.map(({ id }) => id));
    lowered.push(...down.map(({ id }) => id));
  }
  return { raised, lowered };
}
