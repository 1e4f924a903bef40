import { Problem } from "../base/index.ts";
import { BATCH_ROWS, type Db, type Tx } from "../db/index.ts";
import { actorOf, shownMoves } from "../identity/index.ts";
import { conditionOf } from "./filter-sql.ts";
import { groupColumn, groupSort } from "./group-columns.ts";
import { type GroupChange, groupChange, memberIds } from "./group-patch.ts";
import { type GroupRow, type MemberOf, versionOfGroup, viewGroup } from "./group-view.ts";
import { filterOf, type ListQuery } from "./listing.ts";
import type { Operation } from "./operations.ts";
import { type Asking, SCIM, type ScimParts, scimBase } from "./parts.ts";
import { isWanted, project, type Wanted } from "./projection.ts";
import { invalid, type Resource, readResource } from "./resource.ts";
import { groupSchema } from "./schemas.ts";
import { unsorted } from "./sorting.ts";
import type { Answered } from "./users.ts";
import { requireMatch } from "./version.ts";

const MAX_NAME = 256;

/** The groups of this gateway as SCIM has them. What a group gives is not SCIM's to say. */
export class ScimGroups {
  readonly #parts: ScimParts;

  constructor(parts: ScimParts) {
    this.#parts = parts;
  }

  /** Throws 404. */
  async get(id: string, wanted: Wanted): Promise<Answered> {
    const { db } = this.#parts.database;
    return this.#answer(db, await row(db, id), wanted);
  }

  /** A page, and how many there are. */
  async list(query: ListQuery): Promise<{ resources: Resource[]; total: number }> {
    const { db } = this.#parts.database;
    const filter = filterOf(query);
    const condition = filter && conditionOf(filter, groupColumn);
    const { count } = await db
      .selectFrom("groups")
      .$if(condition !== undefined, (rows) => rows.where(condition!))
      .select((expression) => expression.fn.countAll<number>().as("count"))
      .executeTakeFirstOrThrow();
    const total = Number(count);
    if (query.count === 0 || query.startIndex > total) return { resources: [], total };
    const sort = query.sortBy === undefined ? undefined : (groupSort(query.sortBy) ?? unsorted());
    const direction = query.sortOrder === "descending" ? "desc" : "asc";
    const page = await sized(db)
      .$if(condition !== undefined, (rows) => rows.where(condition!))
      .$if(sort !== undefined, (rows) => rows.orderBy(sort!, direction))
      .orderBy("groups.created_at")
      .orderBy("groups.id")
      .limit(query.count)
      .offset(query.startIndex - 1)
      .execute();
    const rows = page.map((one) => ({ ...one, size: Number(one.counted) }));
    return { resources: await this.#view(db, rows, query), total };
  }

  /** Throws 400 `invalid_value`, `unknown_user`, `nested_groups_unsupported`, 409 `group_name_taken`. */
  create(body: Record<string, unknown>, wanted: Wanted, asking: Asking): Promise<Answered> {
    const { name, externalId, ids } = contentOf(body);
    return this.#parts.database.transaction(async (tx) => {
      const group = await this.#parts.groups.insert(tx, {
        name,
        source: SCIM,
        externalId: externalId ?? undefined,
      });
      const moved = await this.#put(tx, group.id, { add: new Set(ids), remove: new Set() });
      await this.#tell(tx, "group.created", asking, { group_id: group.id, name, ...shownMoves(moved) });
      return this.#answer(tx, await row(tx, group.id), wanted);
    });
  }

  /** Throws as `create`, and 404, 412, 409 `last_administrator`. */
  replace(id: string, body: Record<string, unknown>, wanted: Wanted, asking: Asking): Promise<Answered> {
    const { name, externalId, ids } = contentOf(body);
    const change = {
      displayName: name,
      externalId,
      only: new Set(ids),
      add: new Set<string>(),
      remove: new Set<string>(),
    };
    return this.#change(id, change, asking, (tx) =>
      row(tx, id).then((after) => this.#answer(tx, after, wanted)),
    );
  }

  /** Throws as `replace`, and what `groupChange` throws. The group is not read: it may be large. */
  patch(id: string, operations: readonly Operation[], asking: Asking): Promise<string> {
    const change = groupChange(operations);
    if (change.displayName !== undefined) checkName(change.displayName);
    return this.#change(id, change, asking, async (tx) => versionOfGroup(await row(tx, id)));
  }

  /** Throws 404, 412, 409 `last_administrator`. */
  async delete(id: string, asking: Asking): Promise<void> {
    await this.#parts.database.transaction(async (tx) => {
      await this.#locked(tx, id, asking);
      const { name } = await this.#parts.groups.delete(tx, id);
      await this.#tell(tx, "group.deleted", asking, { group_id: id, name });
    });
  }

  #change<T>(id: string, change: GroupChange, asking: Asking, answer: (tx: Tx) => Promise<T>): Promise<T> {
    return this.#parts.database.transaction(async (tx) => {
      const before = await this.#locked(tx, id, asking);
      const { added, removed } = await this.#put(tx, id, change);
      const { displayName: name, externalId } = change;
      const isOther =
        (name !== undefined && name !== before.name) ||
        (externalId !== undefined && externalId !== before.external_id);
      if (isOther || added.length > 0 || removed.length > 0) {
        const group = await this.#parts.groups.update(tx, id, { name, externalId });
        const moves = shownMoves({ added, removed });
        await this.#tell(tx, "group.updated", asking, { group_id: id, name: group.name, ...moves });
      }
      return answer(tx);
    });
  }

  async #locked(tx: Tx, id: string, { request }: Asking): Promise<GroupRow> {
    await this.#parts.groups.locked(tx, id);
    const before = await row(tx, id);
    requireMatch(request, versionOfGroup(before));
    return before;
  }

  /** Machines that are in stay in, whatever a list of people says. */
  async #put(
    tx: Tx,
    groupId: string,
    { only, add, remove }: Pick<GroupChange, "only" | "add" | "remove">,
  ): Promise<{ added: string[]; removed: string[] }> {
    const coming = new Set([...(only ?? []), ...add].filter((id) => !remove.has(id)));
    await checkPeople(tx, coming);
    const inside = only ? await personIds(tx, groupId) : [];
    const going = only ? inside.filter((id) => !coming.has(id)) : await onlyPeople(tx, remove);
    return this.#parts.groups.change(tx, groupId, { add: [...coming], remove: going, via: SCIM });
  }

  async #answer(db: Db | Tx, group: GroupRow, wanted: Wanted): Promise<Answered> {
    const [resource] = await this.#view(db, [group], wanted);
    return { resource: resource!, version: versionOfGroup(group) };
  }

  async #view(db: Db | Tx, rows: readonly GroupRow[], wanted: Wanted): Promise<Resource[]> {
    const members = isWanted(groupSchema, "members", wanted) ? await membersOf(db, rows) : undefined;
    const base = scimBase(this.#parts);
    return rows.map((one) =>
      project(groupSchema, viewGroup(one, members && (members.get(one.id) ?? []), base), wanted),
    );
  }

  #tell(
    tx: Tx,
    event: string,
    { caller, requestId }: Asking,
    detail: Record<string, unknown>,
  ): Promise<void> {
    return this.#parts.record(tx, {
      event,
      actor: actorOf(caller),
      requestId,
      detail: { ...detail, via: SCIM },
    });
  }
}

interface Content {
  name: string;
  externalId: string | null;
  ids: string[];
}

function contentOf(body: Record<string, unknown>): Content {
  const { displayName, externalId, members } = readResource(groupSchema, body);
  const name = typeof displayName === "string" ? displayName.trim() : "";
  checkName(name);
  return {
    name,
    externalId: typeof externalId === "string" ? externalId : null,
    ids: [...new Set(memberIds(members))],
  };
}

function checkName(name: string): void {
  const attribute = { name: "displayName" };
  if (name === "") throw invalid(attribute, "is missing");
  if (name.length > MAX_NAME) throw invalid(attribute, `is longer than ${MAX_NAME} characters`);
}

/** With how many people are in, which is part of the version. */
function sized(db: Db | Tx) {
  return db
    .selectFrom("groups")
    .selectAll("groups")
    .select(({ selectFrom, fn }) =>
      selectFrom("group_members")
        .select(fn.countAll<number>().as("count"))
        .whereRef("group_members.group_id", "=", "groups.id")
        .as("counted"),
    );
}

type Sized = Omit<GroupRow, "size"> & { counted: number | null };

async function row(db: Db | Tx, id: string): Promise<GroupRow> {
  const found: Sized | undefined = await sized(db).where("groups.id", "=", id).executeTakeFirst();
  if (found) return { ...found, size: Number(found.counted) };
  throw new Problem("not_found", "group_not_found", "There is no such group. List them to find its id.");
}

async function membersOf(db: Db | Tx, rows: readonly GroupRow[]): Promise<Map<string, MemberOf[]>> {
  if (rows.length === 0) return new Map();
  const found = await db
    .selectFrom("group_members")
    .innerJoin("users", "users.id", "group_members.user_id")
    .select(["group_id", "users.id", "users.name"])
    .where(
      "group_id",
      "in",
      rows.map(({ id }) => id),
    )
    .where("users.kind", "=", "person")
    .orderBy("users.id")
    .execute();
  return Map.groupBy(found, ({ group_id }) => group_id);
}

async function personIds(tx: Tx, groupId: string): Promise<string[]> {
  const found = await tx
    .selectFrom("group_members")
    .innerJoin("users", "users.id", "group_members.user_id")
    .select("users.id")
    .where("group_id", "=", groupId)
    .where("users.kind", "=", "person")
    .execute();
  return found.map(({ id }) => id);
}

async function onlyPeople(tx: Tx, ids: ReadonlySet<string>): Promise<string[]> {
  const found: string[] = [];
  for (const some of batches(ids)) {
    const rows = await tx
      .selectFrom("users")
      .select("id")
      .where("id", "in", some)
      .where("kind", "=", "person")
      .execute();
    found.push(...rows.map(({ id }) => id));
  }
  return found;
}

/** Throws 400 `unknown_user`, and `nested_groups_unsupported` for a group in a group. */
async function checkPeople(tx: Tx, ids: ReadonlySet<string>): Promise<void> {
  const known = new Set(await onlyPeople(tx, ids));
  const stranger = [...ids].find((id) => !known.has(id));
  if (stranger === undefined) return;
  const group = await tx.selectFrom("groups").select("id").where("id", "=", stranger).executeTakeFirst();
  if (group)
    throw new Problem(
      "invalid",
      "nested_groups_unsupported",
      "Groups here have people in them, and no groups. Let your directory send the people of the inner group.",
      { param: "members" },
    );
  throw new Problem(
    "invalid",
    "unknown_user",
    `There is no user ${stranger.slice(0, 128)}. Create it first.`,
    {
      param: "members",
    },
  );
}

function* batches(ids: ReadonlySet<string>): Generator<string[]> {
  const all = [...ids];
  for (let at = 0; at < all.length; at += BATCH_ROWS) yield all.slice(at, at + BATCH_ROWS);
}
