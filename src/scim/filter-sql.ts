import { type RawBuilder, type SqlBool, sql } from "kysely";
import { Problem } from "../base/index.ts";
import type { Comparison, Filter, FilterValue } from "./filter.ts";
import { isTrue } from "./match.ts";

export type Condition = RawBuilder<SqlBool>;
export type Expression = RawBuilder<unknown>;

/** What a path of a filter is in SQL. `value`: one expression. `some`: rows of a multi-valued attribute, each judged by itself. */
export type Column =
  | { kind: "text"; value: Expression; isExact: boolean; equals?: (text: string) => Condition }
  | { kind: "time"; value: Expression }
  | { kind: "boolean"; value: Condition }
  | { kind: "some"; rows: Expression; part(name: string): Column | undefined }
  | { kind: "group"; isThere: Condition };

/** Where a path leads; undefined: to nothing that can be filtered by. */
export type Columns = (path: string) => Column | undefined;

/** The filter as a condition: the database does all of it. Throws 400 `invalid_filter`. */
export function conditionOf(filter: Filter, columns: Columns): Condition {
  switch (filter.op) {
    case "and":
    case "or": {
      const all = filter.all.map((one) => conditionOf(one, columns));
      return sql<SqlBool>`(${sql.join(all, filter.op === "and" ? sql` and ` : sql` or `)})`;
    }
    case "not":
      return not(conditionOf(filter.filter, columns));
    case "some": {
      const column = columns(filter.path);
      if (column?.kind !== "some") throw unfiltered(filter.path);
      return among(column, conditionOf(filter.filter, column.part));
    }
    case "pr":
      return presence(columns(filter.path) ?? fail(filter.path));
    default:
      return comparison(filter, columns(filter.path) ?? fail(filter.path));
  }
}

function among(column: Column & { kind: "some" }, condition: Condition): Condition {
  return sql<SqlBool>`exists (select 1 from ${column.rows} where ${condition})`;
}

function presence(column: Column): Condition {
  switch (column.kind) {
    case "some":
      return among(column, sql<SqlBool>`1 = 1`);
    case "group":
      return column.isThere;
    case "boolean":
      return sql<SqlBool>`(${column.value}) is not null`;
    default:
      return sql<SqlBool>`${column.value} is not null`;
  }
}

function comparison(
  { op, path, value }: { op: Comparison; path: string; value: FilterValue },
  column: Column,
): Condition {
  if (value === null) return nothing(op, path, column);
  switch (column.kind) {
    case "some": {
      // RFC 7643 §2.4: without a part, `value` is what counts.
      const part = column.part("value");
      if (!part || part.kind === "some") throw unfiltered(path);
      return among(column, comparison({ op, path, value }, part));
    }
    case "group":
      throw unfiltered(path);
    case "boolean": {
      if (op !== "eq" && op !== "ne") throw unfiltered(path);
      return isTrue(value) === (op === "eq") ? column.value : not(column.value);
    }
    case "time":
      return times(op, path, column.value, value);
    case "text":
      return texts(op, column, String(value));
  }
}

/** RFC 7643 §2.5: null and unassigned are the same. */
function nothing(op: Comparison, path: string, column: Column): Condition {
  if (op === "ne") return presence(column);
  if (op === "eq") return not(presence(column));
  throw unfiltered(path);
}

/** What is unassigned equals nothing; SQL's third answer must not come out of a negation. */
function not(condition: Condition): Condition {
  return sql<SqlBool>`not coalesce(${condition}, 1 = 0)`;
}

const signs = { gt: sql`>`, ge: sql`>=`, lt: sql`<`, le: sql`<=`, eq: sql`=`, ne: sql`<>` } as const;

function times(op: Comparison, path: string, column: Expression, value: FilterValue): Condition {
  const at = typeof value === "string" ? Date.parse(value) : Number.NaN;
  const sign = op in signs ? signs[op as keyof typeof signs] : undefined;
  if (Number.isNaN(at) || !sign) throw unfiltered(path);
  return sql<SqlBool>`${column} ${sign} ${at}`;
}

/** No `like`: its case differs between the databases, and its wildcards would have to be escaped. */
function texts(op: Comparison, column: Column & { kind: "text" }, text: string): Condition {
  if (column.equals && op === "eq") return column.equals(text);
  if (column.equals && op === "ne") return not(column.equals(text));
  const fold = (one: Expression): Expression => (column.isExact ? one : sql`lower(${one})`);
  const [a, b] = [fold(column.value), fold(sql`cast(${text} as text)`)];
  switch (op) {
    case "ne":
      return not(sql<SqlBool>`${a} = ${b}`);
    case "co":
      return sql<SqlBool>`(length(replace(${a}, ${b}, '')) < length(${a}) or ${b} = '')`;
    case "sw":
      return sql<SqlBool>`substr(${a}, 1, length(${b})) = ${b}`;
    case "ew":
      return sql<SqlBool>`(length(${a}) >= length(${b}) and substr(${a}, length(${a}) - length(${b}) + 1) = ${b})`;
    default:
      return sql<SqlBool>`${a} ${signs[op]} ${b}`;
  }
}

function fail(path: string): never {
  throw unfiltered(path);
}

function unfiltered(path: string): Problem {
  return new Problem(
    "invalid",
    "invalid_filter",
    `Nothing can be found by ${path.slice(0, 200)} in this way. Look at /scim/v2/Schemas, and compare text with text.`,
    { param: "filter" },
  );
}
