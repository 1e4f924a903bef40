import { isDeepStrictEqual } from "node:util";
import { type Filter, parsePath } from "./filter.ts";
import { madeFrom, matches } from "./match.ts";
import { immutable, invalidPath, noTarget, type Operation } from "./operations.ts";
import {
  assign,
  holder,
  isObject,
  type Json,
  onePrimary,
  type Resource,
  readOne,
  readValue,
  requireRoom,
  tidy,
} from "./resource.ts";
import { type Attribute, isNotKept, type ResourceSchema, resolve, type Target } from "./schemas.ts";

/** A path, found in the schema. */
interface Place extends Target {
  attribute: Attribute;
  filter?: Filter;
}

/**
 * The resource as it is after the operations, in their order; the one given stays as it is, so that all or none count (RFC 7644
 * §3.5.2). Throws 400 `invalid_path`, `invalid_filter`, `invalid_value`, `no_target`, `immutable_attribute`.
 */
export function patched(
  schema: ResourceSchema,
  resource: Resource,
  operations: readonly Operation[],
): Resource {
  const after = structuredClone(resource);
  for (const operation of operations) applyOne(schema, after, operation);
  return tidy(after);
}

function applyOne(schema: ResourceSchema, resource: Resource, { op, path, value }: Operation): void {
  if (path === undefined || path === "") {
    if (op === "remove") throw noTarget(undefined);
    if (!isObject(value)) throw invalidPath("");
    applyAll(schema, resource, op, value);
    return;
  }
  if (isNotKept(path)) return;
  const target = resolve(schema, path);
  if (target && !target.attribute) wholeExtension(schema, resource, target.extension!, { op, value });
  else applyAt(resource, placeOf(schema, path), { op, path, value });
}

/** Without a path: a set of attributes, of which what is unknown or only ours to say is passed over. */
function applyAll(
  schema: ResourceSchema,
  resource: Resource,
  op: "add" | "replace",
  values: Record<string, unknown>,
): void {
  for (const [name, value] of Object.entries(values)) {
    if (isNotKept(name)) continue;
    // Entra ID writes whole paths as names here, filters in them and all.
    const target = name.includes("[") ? placeOf(schema, name) : resolve(schema, name);
    if (!target || target.attribute?.isReadOnly) continue;
    if (target.attribute) applyAt(resource, target as Place, { op, path: name, value });
    else wholeExtension(schema, resource, target.extension!, { op, value });
  }
}

function wholeExtension(
  schema: ResourceSchema,
  resource: Resource,
  urn: string,
  { op, value }: Operation,
): void {
  if (op === "remove") {
    delete resource[urn];
    return;
  }
  if (!isObject(value)) throw invalidPath(urn);
  if (op === "replace") delete resource[urn];
  const inside = Object.fromEntries(Object.entries(value).map(([name, one]) => [`${urn}:${name}`, one]));
  applyAll(schema, resource, op, inside);
}

function placeOf(schema: ResourceSchema, notation: string): Place {
  const { path, filter, part } = parsePath(notation);
  const target = resolve(schema, path);
  if (!target?.attribute) throw invalidPath(notation);
  if (!filter) return target as Place;
  if (!target.attribute.isMany || target.part) throw invalidPath(notation);
  const inner = part === undefined ? undefined : target.attribute.parts.get(part.toLowerCase());
  if (part !== undefined && !inner) throw invalidPath(notation);
  return { ...target, attribute: target.attribute, filter, part: inner };
}

function applyAt(resource: Resource, place: Place, operation: Operation): void {
  const { attribute, part } = place;
  if (attribute.isReadOnly) throw immutable(attribute.name);
  if (operation.op === "remove" && attribute.isRequired) throw immutable(attribute.name);
  const into = holder(resource, place.extension);
  if (place.filter) applyToSome(into, place as Place & { filter: Filter }, operation);
  else if (operation.op === "remove") remove(into, place, operation.value);
  else if (part) assignPart(into, attribute, part, operation.value);
  else if (operation.op === "add" && attribute.isMany) addValues(into, attribute, operation.value);
  else if (attribute.type === "complex" && !attribute.isMany) merge(into, attribute, operation.value);
  else assign(into, attribute, operation.value);
}

/** RFC 7644 §3.5.2.1: what is there already is not there twice; a new `primary` takes it from the old one. */
function addValues(into: Resource, attribute: Attribute, value: unknown): void {
  const held = listOf(into, attribute);
  const known = new Set(held.map(canonical));
  const news = ((readValue(attribute, value) ?? []) as Json[]).filter((one) => !known.has(canonical(one)));
  const primary = news.findIndex((one) => isObject(one) && one.primary === true);
  const all = [...held, ...news];
  requireRoom(attribute, all.length);
  onePrimary(all, primary < 0 ? undefined : held.length + primary);
  if (all.length > 0) into[attribute.name] = all;
}

/** The same text for the same value, in whatever order its parts came; none of them has parts itself. */
function canonical(value: Json): string {
  return JSON.stringify(isObject(value) ? Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)) : value);
}

/** RFC 7644 §3.5.2.3: of a complex attribute the parts that are named change. */
function merge(into: Resource, attribute: Attribute, value: unknown): void {
  const read = readValue(attribute, value);
  if (read === undefined) delete into[attribute.name];
  else into[attribute.name] = { ...(into[attribute.name] as Resource | undefined), ...(read as Resource) };
}

/** A part of a complex value; of a multi-valued attribute without a filter, of every value there is. */
function assignPart(into: Resource, attribute: Attribute, part: Attribute, value: unknown): void {
  const held = attribute.isMany ? listOf(into, attribute) : [into[attribute.name] ?? {}];
  const values = held.length > 0 ? held : [{}];
  for (const one of values) if (isObject(one)) assign(one as Resource, part, value);
  keep(into, attribute, values);
}

function remove(into: Resource, { attribute, part }: Place, value: unknown): void {
  if (part) {
    const held = attribute.isMany ? listOf(into, attribute) : [into[attribute.name] ?? {}];
    for (const one of held) if (isObject(one)) delete one[part.name];
    keep(into, attribute, held);
    return;
  }
  // Not in the RFC, and what Entra ID does with multi-valued attributes: those of the values that are named go.
  const gone =
    attribute.isMany && value !== undefined ? (readValue(attribute, value) as Json[] | undefined) : undefined;
  if (!gone) delete into[attribute.name];
  else
    keep(
      into,
      attribute,
      listOf(into, attribute).filter((one) => !gone.some((other) => isSameValue(one, other))),
    );
}

function isSameValue(one: Json, other: Json): boolean {
  if (!isObject(one) || !isObject(other)) return one === other;
  return "value" in other ? one.value === other.value : isDeepStrictEqual(one, other);
}

/**
 * The values that the filter means. Where none is, a value that the filter describes is made for `add` and `replace`: RFC 7644
 * §3.5.2.3 would refuse a `replace`, but directories send it for the first value of its kind. A filter that describes none is
 * `no_target`.
 */
function applyToSome(
  into: Resource,
  { attribute, part, filter }: Place & { filter: Filter },
  { op, path, value }: Operation,
): void {
  const held = listOf(into, attribute);
  const hits = held.filter((one) => matches(attribute, one, filter));
  if (op === "remove") {
    if (part) for (const one of hits) delete (one as Resource)[part.name];
    keep(into, attribute, part ? held : held.filter((one) => !hits.includes(one)));
    return;
  }
  if (hits.length === 0) {
    const made = madeFrom(attribute, filter);
    if (!made) throw noTarget(path);
    held.push(made);
    hits.push(made);
  }
  for (const one of hits as Resource[]) {
    if (part) assign(one, part, value);
    else change(one, readOne(attribute, value), op);
  }
  const primary = held.findIndex((one) => hits.includes(one) && isObject(one) && one.primary === true);
  onePrimary(held, primary < 0 ? undefined : primary);
  keep(into, attribute, held);
}

function change(one: Resource, read: Json | undefined, op: "add" | "replace"): void {
  if (op === "replace") for (const name of Object.keys(one)) delete one[name];
  if (isObject(read)) Object.assign(one, read);
}

function listOf(into: Resource, attribute: Attribute): Json[] {
  const held = into[attribute.name];
  return Array.isArray(held) ? [...held] : [];
}

/** Values without anything in them are none, and an attribute without values is unassigned. */
function keep(into: Resource, attribute: Attribute, values: readonly Json[]): void {
  const kept = values.filter((one) => !isObject(one) || Object.keys(one).length > 0);
  if (kept.length === 0) delete into[attribute.name];
  else into[attribute.name] = attribute.isMany ? kept : kept[0]!;
}
