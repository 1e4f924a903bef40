import { holder, isObject, type Json, type Resource } from "./resource.ts";
import { type ResourceSchema, resolve, type Target } from "./schemas.ts";

/** What of a resource is wanted (RFC 7644 §3.9). Of both, `attributes` counts. */
export interface Wanted {
  attributes?: string;
  excludedAttributes?: string;
}

/** These a resource never is without: `id` is `returned: always` (RFC 7643 §3.1), and `schemas` says what the rest is. */
const always = new Set(["schemas", "id"]);

/** The part of the resource that is wanted; what the schema does not know is not wanted and not excluded. */
export function project(schema: ResourceSchema, resource: Resource, wanted: Wanted): Resource {
  const only = targetsOf(schema, wanted.attributes);
  if (only) return picked(resource, only);
  const without = targetsOf(schema, wanted.excludedAttributes) ?? [];
  const rest = structuredClone(resource);
  for (const { extension, attribute, part } of without) {
    const at = extension === undefined ? rest : rest[extension];
    if (!isObject(at)) continue;
    if (!attribute) delete rest[extension!];
    else if (always.has(attribute.name)) continue;
    else if (part)
      at[attribute.name] = each(at[attribute.name] as Json, (one) => omit(one, part.name)) as Json;
    else delete at[attribute.name];
    if (at[attribute?.name ?? ""] === undefined && attribute) delete at[attribute.name];
  }
  return rest;
}

/** Whether this attribute is part of the answer at all: what is dear to read is not read in vain. */
export function isWanted(schema: ResourceSchema, name: string, wanted: Wanted): boolean {
  const isNamed = (list: Target[] | undefined) =>
    list?.some((one) => !one.extension && one.attribute?.name === name);
  if (targetsOf(schema, wanted.attributes)) return isNamed(targetsOf(schema, wanted.attributes)) === true;
  const without = targetsOf(schema, wanted.excludedAttributes)?.filter(({ part }) => !part);
  return isNamed(without) !== true;
}

function targetsOf(schema: ResourceSchema, list: string | undefined): Target[] | undefined {
  const names = (list ?? "").split(",").map((name) => name.trim());
  if (names.every((name) => name === "")) return undefined;
  // Entra ID writes value filters here too; the attribute as a whole is what it gets.
  return names.flatMap((name) => resolve(schema, name.replace(/\[.*$/s, "")) ?? []);
}

function picked(resource: Resource, only: readonly Target[]): Resource {
  const found: Resource = Object.fromEntries(Object.entries(resource).filter(([name]) => always.has(name)));
  for (const { extension, attribute, part } of only) {
    const from = extension === undefined ? resource : resource[extension];
    if (!isObject(from)) continue;
    if (!attribute) {
      found[extension!] = from as Resource;
      continue;
    }
    const value = from[attribute.name] as Json | undefined;
    if (value === undefined) continue;
    const into = holder(found, extension);
    into[attribute.name] = part ? joined(into[attribute.name], value, part.name) : value;
  }
  return found;
}

/** `name.givenName,name.familyName` are two parts of one value. */
function joined(had: Json | undefined, value: Json, part: string): Json {
  const pick = (one: Json): Json =>
    isObject(one) && part in one ? { [part]: (one as Resource)[part]! } : {};
  if (!Array.isArray(value)) return { ...(had as Resource | undefined), ...(pick(value) as Resource) };
  return value.map((one, at) => ({
    ...((had as Json[] | undefined)?.[at] as Resource),
    ...(pick(one) as Resource),
  }));
}

function each(value: Json | undefined, change: (one: Json) => Json): Json | undefined {
  return Array.isArray(value) ? value.map(change) : value === undefined ? undefined : change(value);
}

function omit(value: Json, name: string): Json {
  if (!isObject(value)) return value;
  const { [name]: _, ...rest } = value as Resource;
  return rest;
}
