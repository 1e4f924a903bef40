import { Problem } from "../base/index.ts";
import type { Comparison, Filter, FilterValue } from "./filter.ts";
import { isObject, type Json, type Resource } from "./resource.ts";
import type { Attribute } from "./schemas.ts";

/** Whether one value of a multi-valued attribute is meant by the filter of a PATCH path. Throws 400 `invalid_filter`. */
export function matches(attribute: Attribute, value: Json, filter: Filter): boolean {
  switch (filter.op) {
    case "and":
      return filter.all.every((one) => matches(attribute, value, one));
    case "or":
      return filter.all.some((one) => matches(attribute, value, one));
    case "not":
      return !matches(attribute, value, filter.filter);
    case "pr":
      return partOf(attribute, value, filter.path).found !== undefined;
    case "some":
      throw unknownPart(attribute);
    default: {
      const { found, isExact } = partOf(attribute, value, filter.path);
      return compare(filter.op, found, filter.value, isExact);
    }
  }
}

/** What the filter says a value is, when all it says is `… eq …`: a value made from it matches it. */
export function madeFrom(attribute: Attribute, filter: Filter): Resource | undefined {
  const all = filter.op === "and" ? filter.all : [filter];
  const made: Resource = {};
  for (const one of all) {
    const part = one.op === "eq" ? attribute.parts.get(one.path.toLowerCase()) : undefined;
    if (one.op !== "eq" || !part || one.value === null) return undefined;
    made[part.name] = part.type === "boolean" ? isTrue(one.value) : one.value;
  }
  return made;
}

function partOf(attribute: Attribute, value: Json, path: string): { found?: Json; isExact: boolean } {
  const part = attribute.parts.get(path.toLowerCase());
  if (!part) throw unknownPart(attribute);
  return { found: isObject(value) ? (value as Resource)[part.name] : undefined, isExact: part.isExact };
}

function compare(op: Comparison, found: Json | undefined, wanted: FilterValue, isExact: boolean): boolean {
  if (op === "eq") return isSame(found, wanted, isExact);
  if (op === "ne") return !isSame(found, wanted, isExact);
  if (typeof found !== "string" || typeof wanted !== "string") return false;
  const [a, b] = isExact ? [found, wanted] : [found.toLowerCase(), wanted.toLowerCase()];
  switch (op) {
    case "co":
      return a.includes(b);
    case "sw":
      return a.startsWith(b);
    case "ew":
      return a.endsWith(b);
    case "gt":
      return a > b;
    case "ge":
      return a >= b;
    case "lt":
      return a < b;
    case "le":
      return a <= b;
  }
}

function isSame(found: Json | undefined, wanted: FilterValue, isExact: boolean): boolean {
  if (wanted === null) return found === undefined;
  if (typeof found === "boolean") return found === isTrue(wanted);
  if (typeof found !== "string" || typeof wanted !== "string") return found === wanted;
  return isExact ? found === wanted : found.toLowerCase() === wanted.toLowerCase();
}

/** Entra ID writes `primary eq "True"`. */
export function isTrue(value: FilterValue): boolean {
  return value === true || (typeof value === "string" && value.toLowerCase() === "true");
}

function unknownPart({ name }: Attribute): Problem {
  return new Problem(
    "invalid",
    "invalid_filter",
    `The filter names what a value of ${name} does not have. Look at /scim/v2/Schemas.`,
    { param: "path" },
  );
}
