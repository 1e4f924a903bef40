import { Problem } from "../base/index.ts";
import { type Attribute, isNotKept, type ResourceSchema, resolve } from "./schemas.ts";

export type Json = string | number | boolean | null | Json[] | { [member: string]: Json };
/** A resource or a complex value: names as the schema writes them, nothing unassigned in it. */
export type Resource = { [member: string]: Json };

const MAX_TEXT = 8192;
const MAX_VALUES = 1000;
/** What a body has room for. */
const MAX_MEMBERS = 50_000;

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * What a body says, in the schema's names. What the schema does not know and what only we may say is left out (RFC 7644
 * §3.3, §3.5.1). Throws 400 `invalid_value`.
 */
export function readResource(schema: ResourceSchema, body: Record<string, unknown>): Resource {
  const resource: Resource = {};
  for (const [key, value] of Object.entries(body)) {
    const target = isNotKept(key) ? undefined : resolve(schema, key);
    if (!target || target.part) continue;
    if (target.attribute) {
      if (!target.attribute.isReadOnly) assign(holder(resource, target.extension), target.attribute, value);
      continue;
    }
    const { attributes } = schema.extensions.get(target.extension!.toLowerCase())!;
    if (!isObject(value)) continue;
    for (const [name, inner] of Object.entries(value)) {
      const attribute = attributes.get(name.toLowerCase());
      if (attribute && !attribute.isReadOnly) assign(holder(resource, target.extension), attribute, inner);
    }
  }
  return tidy(resource);
}

/** Where the attributes of the resource itself, or of one of its extensions, are kept. */
export function holder(resource: Resource, extension: string | undefined): Resource {
  if (extension === undefined) return resource;
  const held = resource[extension];
  if (isObject(held)) return held as Resource;
  const made: Resource = {};
  resource[extension] = made;
  return made;
}

/** Sets what is assigned and takes away what is not (RFC 7643 §2.5). */
export function assign(into: Resource, attribute: Attribute, value: unknown): void {
  const read = readValue(attribute, value);
  if (read === undefined) delete into[attribute.name];
  else into[attribute.name] = read;
}

/** Extensions without anything in them are no extensions. */
export function tidy(resource: Resource): Resource {
  for (const [name, value] of Object.entries(resource))
    if (name.startsWith("urn:") && isObject(value) && Object.keys(value).length === 0) delete resource[name];
  return resource;
}

/** A value as the attribute has it; undefined when it is unassigned: null, empty, or an empty list. */
export function readValue(attribute: Attribute, value: unknown): Json | undefined {
  if (!attribute.isMany)
    return readOne(attribute, Array.isArray(value) && value.length === 1 ? value[0] : value);
  if (value === null || value === undefined || value === "") return undefined;
  const list = Array.isArray(value) ? value : [value];
  requireRoom(attribute, list.length);
  const read = list.map((one) => readOne(attribute, one)).filter((one) => one !== undefined);
  onePrimary(read);
  return read.length === 0 ? undefined : read;
}

/** Throws 400 `invalid_value` for more values than an attribute takes. */
export function requireRoom(attribute: Attribute, count: number): void {
  const most = attribute.name === "members" ? MAX_MEMBERS : MAX_VALUES;
  if (count > most) throw invalid(attribute, `takes at most ${most} values`);
}

/** One value of an attribute, multi-valued or not. */
export function readOne(attribute: Attribute, value: unknown): Json | undefined {
  if (value === null || value === undefined || value === "") return undefined;
  if (attribute.type === "complex") return readComplex(attribute, value);
  if (attribute.type === "boolean") return readBoolean(attribute, value);
  // Directories keep numbers where the schema has text (`employeeNumber`).
  const text = typeof value === "number" ? String(value) : value;
  if (typeof text !== "string") throw invalid(attribute, "is text");
  if (text.length > MAX_TEXT) throw invalid(attribute, `is longer than ${MAX_TEXT} characters`);
  // Half a character is no text, and Postgres reads no JSON that has one.
  return text.toWellFormed();
}

/** Entra ID says "True" and "False". */
function readBoolean(attribute: Attribute, value: unknown): boolean {
  if (typeof value === "boolean") return value;
  const word = typeof value === "string" ? value.toLowerCase() : "";
  if (word === "true" || word === "false") return word === "true";
  throw invalid(attribute, "is true or false");
}

/** A bare text is the `value` of it: Entra ID sends a manager as nothing but an id. */
function readComplex(attribute: Attribute, value: unknown): Resource | undefined {
  const given = isObject(value) ? value : attribute.parts.has("value") ? { value } : undefined;
  if (!given) throw invalid(attribute, "is an object");
  const read: Resource = {};
  for (const [name, inner] of Object.entries(given)) {
    const part = attribute.parts.get(name.toLowerCase());
    const one = part && readOne(part, inner);
    if (one !== undefined) read[part!.name] = one;
  }
  return Object.keys(read).length === 0 ? undefined : read;
}

/** RFC 7643 §2.4: `primary` is true of one value at most; the first that says so counts. */
export function onePrimary(values: readonly Json[], kept = values.findIndex(isPrimary)): void {
  for (const [at, one] of values.entries())
    if (at !== kept && isPrimary(one)) (one as Resource).primary = false;
}

function isPrimary(value: Json): boolean {
  return isObject(value) && value.primary === true;
}

export function invalid({ name }: Pick<Attribute, "name">, fault: string): Problem {
  return new Problem("invalid", "invalid_value", `The attribute ${name} ${fault}. Correct its value.`, {
    param: name,
  });
}
