import { sql } from "kysely";
import type { Column, Columns, Expression } from "./filter-sql.ts";
import { type Attribute, resolve, userSchema } from "./schemas.ts";

export type Dialect = "sqlite" | "postgres";

/** `userName`, also of an account that SCIM did not make. */
const userName = sql`coalesce(users.user_name, users.email)`;

/**
 * What the attributes of a person are in SQL, over `users`: columns where there are columns, else a place in `scim_json`. An account
 * that SCIM did not make has the attributes that `viewUser` gives it.
 */
export function userColumns(dialect: Dialect): Columns {
  const json = jsonOf[dialect];
  const columns = ownColumns();
  return (path) => {
    const target = resolve(userSchema, path);
    if (!target?.attribute) return undefined;
    const { attribute, extension, part } = target;
    const own = extension === undefined ? columns.get(attribute.name) : undefined;
    if (own) return part ? own.part?.(part.name) : own.column;
    const keys = extension === undefined ? [attribute.name] : [extension, attribute.name];
    if (attribute.isMany) {
      const many = manyValues(attribute, json.rows(json.document, keys), (name) => json.inside(name));
      return part ? wherever(many, part.name) : many;
    }
    if (part) return scalar(part, json.text(json.document, [...keys, part.name]));
    if (attribute.type === "complex")
      return { kind: "group", isThere: sql`${json.text(json.document, keys)} is not null` };
    return scalar(attribute, json.text(json.document, keys));
  };
}

/** By what a list of people can be sorted; undefined: not by that. */
export function userSort(dialect: Dialect, path: string): Expression | undefined {
  const column = userColumns(dialect)(path);
  if (column?.kind === "text") return column.isExact ? column.value : sql`lower(${column.value})`;
  return column?.kind === "time" ? column.value : undefined;
}

interface Own {
  column: Column;
  part?(name: string): Column | undefined;
}

function ownColumns(): Map<string, Own> {
  const text = (value: Expression, isExact: boolean): Own => ({ column: { kind: "text", value, isExact } });
  const times: Record<string, Column> = {
    created: { kind: "time", value: sql`users.created_at` },
    lastModified: { kind: "time", value: sql`users.updated_at` },
  };
  return new Map<string, Own>([
    ["id", text(sql`users.id`, true)],
    ["externalId", text(sql`users.external_id`, true)],
    ["displayName", text(sql`users.name`, false)],
    ["active", { column: { kind: "boolean", value: sql`users.is_active = 1` } }],
    [
      "userName",
      {
        column: {
          kind: "text",
          value: userName,
          isExact: false,
          // Two look-ups by an index each; joined by `or`, SQLite walks over everybody.
          equals: (name) => {
            const folded = sql`cast(${foldName(name)} as text)`;
            return sql`users.id in (
              select named.id from users as named where named.user_name = ${folded}
              union all select named.id from users as named where named.email = ${folded} and coalesce(named.user_name, named.email) = ${folded}
            )`;
          },
        },
      },
    ],
    ["meta", { column: { kind: "group", isThere: sql`1 = 1` }, part: (name) => times[name] }],
    ["groups", groupsColumn()],
  ]);
}

/** Case does not count in `userName` (RFC 7643 §4.1.1), and the e-mail address is kept folded like this too. */
export function foldName(name: string): string {
  return name.trim().normalize("NFC").toLowerCase();
}

function groupsColumn(): Own {
  const rows = sql`group_members inner join groups on groups.id = group_members.group_id where group_members.user_id = users.id`;
  const part = (name: string): Column | undefined =>
    name === "value"
      ? { kind: "text", value: sql`listed.id`, isExact: true }
      : name === "display"
        ? { kind: "text", value: sql`listed.name`, isExact: false }
        : undefined;
  const attribute = userSchema.attributes.get("groups")!;
  const listed = sql`(select groups.id, groups.name from ${rows}) as listed`;
  const column = manyValues(attribute, listed, (name) => part(name));
  return { column, part: (name) => wherever(column, name) };
}

function manyValues(
  attribute: Attribute,
  rows: Expression,
  inside: (name: string) => Expression | Column | undefined,
): Column & { kind: "some" } {
  return {
    kind: "some",
    rows,
    part: (name) => {
      const found = attribute.parts.get(name.toLowerCase());
      const at = found && inside(found.name);
      return at && ("kind" in at ? at : scalar(found, at));
    },
  };
}

/** `emails.value eq "…"`: of any of the values. */
function wherever(many: Column & { kind: "some" }, name: string): Column | undefined {
  const only = many.part(name);
  return only && { ...many, part: (wanted) => (wanted === "value" ? only : undefined) };
}

function scalar(attribute: Attribute, value: Expression): Column {
  // SQLite says 1.
  if (attribute.type === "boolean") return { kind: "boolean", value: sql`${value} in ('1', 'true')` };
  return { kind: "text", value, isExact: attribute.isExact };
}

interface Json {
  document: Expression;
  text(document: Expression, keys: readonly string[]): Expression;
  rows(document: Expression, keys: readonly string[]): Expression;
  /** A part of the value of the row. */
  inside(name: string): Expression;
}

/** Names of attributes come from the schema, and are handed over as parameters all the same. */
const sqlite: Json = {
  document: sql`coalesce(users.scim_json, json_object('name', json_object('formatted', users.name), 'emails', json_array(json_object('value', users.email, 'type', 'work', 'primary', json('true')))))`,
  text: (document, keys) => sql`cast(json_extract(${document}, ${pathOf(keys)}) as text)`,
  rows: (document, keys) => sql`json_each(${document}, ${pathOf(keys)}) as held`,
  inside: (name) => sql`cast(json_extract(held.value, ${pathOf([name])}) as text)`,
};

const postgres: Json = {
  document: sql`coalesce(users.scim_json::jsonb, jsonb_build_object('name', jsonb_build_object('formatted', users.name), 'emails', jsonb_build_array(jsonb_build_object('value', users.email, 'type', 'work', 'primary', true))))`,
  text: (document, keys) => sql`(${document} #>> ${keys}::text[])`,
  rows: (document, keys) =>
    sql`jsonb_array_elements(coalesce(${document} #> ${keys}::text[], '[]'::jsonb)) as held(value)`,
  inside: (name) => sql`(held.value ->> cast(${name} as text))`,
};

const jsonOf: Record<Dialect, Json> = { sqlite, postgres };

function pathOf(keys: readonly string[]): string {
  return `$${keys.map((key) => `."${key}"`).join("")}`;
}
