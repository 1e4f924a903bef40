import { sql } from "kysely";
import type { Column, Expression } from "./filter-sql.ts";
import { groupSchema, resolve } from "./schemas.ts";

const columns = new Map<string, Column>([
  ["id", { kind: "text", value: sql`groups.id`, isExact: true }],
  ["externalId", { kind: "text", value: sql`groups.external_id`, isExact: true }],
  ["displayName", { kind: "text", value: sql`groups.name`, isExact: false }],
  ["meta", { kind: "group", isThere: sql`1 = 1` }],
  ["meta.created", { kind: "time", value: sql`groups.created_at` }],
  ["meta.lastModified", { kind: "time", value: sql`groups.updated_at` }],
]);

const member = new Map<string, Column>([
  ["value", { kind: "text", value: sql`held.id`, isExact: true }],
  ["display", { kind: "text", value: sql`held.name`, isExact: false }],
]);

const members: Column & { kind: "some" } = {
  kind: "some",
  rows: sql`(select users.id, users.name from group_members inner join users on users.id = group_members.user_id where group_members.group_id = groups.id and users.kind = 'person') as held`,
  part: (name) => member.get(name.toLowerCase()),
};

/** What the attributes of a group are in SQL, over `groups`. */
export function groupColumn(path: string): Column | undefined {
  const target = resolve(groupSchema, path);
  const { attribute, part } = target ?? {};
  if (!attribute) return undefined;
  if (attribute.name !== "members")
    return columns.get(part ? `${attribute.name}.${part.name}` : attribute.name);
  const only = part && member.get(part.name);
  return part ? only && { ...members, part: () => only } : members;
}

export function groupSort(path: string): Expression | undefined {
  const column = groupColumn(path);
  if (column?.kind === "text") return column.isExact ? column.value : sql`lower(${column.value})`;
  return column?.kind === "time" ? column.value : undefined;
}
