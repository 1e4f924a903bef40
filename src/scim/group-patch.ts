import type { Filter } from "./filter.ts";
import { parsePath } from "./filter.ts";
import { immutable, invalidPath, noTarget, type Operation } from "./operations.ts";
import { isObject, readOne } from "./resource.ts";
import { groupSchema, resolve } from "./schemas.ts";

/** What a PATCH comes to for a group: who comes and goes, without anybody having read who is in. */
export interface GroupChange {
  displayName?: string;
  /** Null: taken away. */
  externalId?: string | null;
  /** These, and no other, before `add` and `remove`. */
  only?: Set<string>;
  add: Set<string>;
  remove: Set<string>;
}

/** Throws 400 `invalid_path`, `invalid_value`, `no_target`, `immutable_attribute`. */
export function groupChange(operations: readonly Operation[]): GroupChange {
  const change: GroupChange = { add: new Set(), remove: new Set() };
  for (const operation of operations) apply(change, operation);
  return change;
}

function apply(change: GroupChange, { op, path, value }: Operation): void {
  if (path === undefined || path === "") {
    if (op === "remove") throw noTarget(undefined);
    if (!isObject(value)) throw invalidPath("");
    for (const [name, one] of Object.entries(value)) {
      const attribute = resolve(groupSchema, name)?.attribute;
      if (attribute && !attribute.isReadOnly) applyTo(change, attribute.name, { op, path: name, value: one });
    }
    return;
  }
  const { path: name, filter } = parsePath(path);
  const target = resolve(groupSchema, name);
  if (!target?.attribute) throw invalidPath(path);
  if (target.attribute.isReadOnly) throw immutable(target.attribute.name);
  if (filter) removeFound(change, target.attribute.name, filter, { op, path });
  else applyTo(change, target.attribute.name, { op, path, value });
}

function applyTo(change: GroupChange, name: string, { op, path, value }: Operation): void {
  if (name === "members") {
    changeMembers(change, op, value);
    return;
  }
  const read = op === "remove" ? undefined : readOne(groupSchema.attributes.get(name.toLowerCase())!, value);
  if (name === "externalId") change.externalId = (read as string | undefined) ?? null;
  else if (name !== "displayName") throw invalidPath(path ?? name);
  else if (read === undefined) throw immutable(name);
  else change.displayName = read as string;
}

function changeMembers(change: GroupChange, op: Operation["op"], value: unknown): void {
  const ids = memberIds(value);
  if (op === "add") for (const id of ids) put(change, id);
  else if (op === "remove" && ids.length > 0) for (const id of ids) take(change, id);
  else {
    change.only = new Set(op === "remove" ? [] : ids);
    change.add.clear();
    change.remove.clear();
  }
}

/** `members[value eq "…"]`, the one form that directories send, or several joined by `or`. */
function removeFound(change: GroupChange, name: string, filter: Filter, { op, path }: Operation): void {
  const all = filter.op === "or" ? filter.all : [filter];
  const ids = all.map((one) =>
    one.op === "eq" && one.path.toLowerCase() === "value" && typeof one.value === "string"
      ? one.value
      : undefined,
  );
  if (name !== "members" || op !== "remove") throw invalidPath(path ?? name);
  for (const id of ids) {
    if (id === undefined) throw noTarget(path);
    take(change, id);
  }
}

function put(change: GroupChange, id: string): void {
  change.add.add(id);
  change.remove.delete(id);
}

function take(change: GroupChange, id: string): void {
  change.remove.add(id);
  change.add.delete(id);
}

/** The ids in a value of `members`: a list, one of them, or a bare id. Throws 400 `invalid_value`. */
export function memberIds(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  const members = groupSchema.attributes.get("members")!;
  return (Array.isArray(value) ? value : [value]).flatMap((one) => {
    const read = readOne(members, one);
    const id = isObject(read) ? read.value : undefined;
    return typeof id === "string" ? [id] : [];
  });
}
