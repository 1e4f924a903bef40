import { isDeepStrictEqual } from "node:util";
import { sql } from "kysely";
import { Problem } from "../base/index.ts";
import type { Db, Tx } from "../db/index.ts";
import { aboutUser, nameTaken } from "../identity/index.ts";
import { conditionOf } from "./filter-sql.ts";
import { linkIdentity } from "./identity-link.ts";
import { filterOf, type ListQuery } from "./listing.ts";
import type { Operation } from "./operations.ts";
import { type Asking, SCIM, type ScimParts, scimBase } from "./parts.ts";
import { patched } from "./patch.ts";
import { isWanted, project, type Wanted } from "./projection.ts";
import { type Resource, readResource } from "./resource.ts";
import { userSchema } from "./schemas.ts";
import { unsorted } from "./sorting.ts";
import { userColumns, userSort } from "./user-columns.ts";
import {
  type AccountFields,
  contentOf,
  fieldsOf,
  type Membership,
  type UserRow,
  versionOfUser,
  viewUser,
} from "./user-view.ts";
import { requireMatch } from "./version.ts";

/** A resource as it is answered, with its version. */
export interface Answered {
  resource: Resource;
  version: string;
}

/** The people of this gateway as SCIM has them; machines are none of its business. */
export class ScimUsers {
  readonly #parts: ScimParts;

  constructor(parts: ScimParts) {
    this.#parts = parts;
  }

  /** Throws 404. */
  async get(id: string, wanted: Wanted): Promise<Answered> {
    return this.#answer(await this.#row(this.#parts.database.db, id), wanted);
  }

  /** A page, and how many there are; filtered, counted, sorted and cut by the database. */
  async list(query: ListQuery): Promise<{ resources: Resource[]; total: number }> {
    const { db, kind } = this.#parts.database;
    const filter = filterOf(query);
    const condition = filter && conditionOf(filter, userColumns(kind));
    const all = people(db).$if(condition !== undefined, (rows) => rows.where(condition!));
    const { count } = await all
      .select((expression) => expression.fn.countAll<number>().as("count"))
      .executeTakeFirstOrThrow();
    const total = Number(count);
    if (query.count === 0 || query.startIndex > total) return { resources: [], total };
    const sort = query.sortBy === undefined ? undefined : (userSort(kind, query.sortBy) ?? unsorted());
    const direction = query.sortOrder === "descending" ? "desc" : "asc";
    const rows = await all
      .selectAll()
      .$if(sort !== undefined, (page) => page.orderBy(sort!, direction))
      .orderBy("users.created_at")
      .orderBy("users.id")
      .limit(query.count)
      .offset(query.startIndex - 1)
      .execute();
    return { resources: await this.#view(rows, query), total };
  }

  /** Throws 400 `invalid_value`, 409 `user_name_taken`, `identity_taken`. */
  create(body: Record<string, unknown>, wanted: Wanted, asking: Asking): Promise<Answered> {
    const fields = fieldsOf(readResource(userSchema, body), true);
    return this.#once(async (tx) => {
      const row = await this.#insert(tx, fields);
      await linkIdentity(this.#parts, tx, { after: row }, asking);
      await this.#tell("user.created", asking, { active: fields.isActive })(tx, row);
      return this.#answer(row, wanted, tx);
    });
  }

  /** The resource is the body from now on (RFC 7644 §3.5.1). Throws as `create`, and 404, 412, 409 `last_administrator`. */
  replace(id: string, body: Record<string, unknown>, wanted: Wanted, asking: Asking): Promise<Answered> {
    const content = readResource(userSchema, body);
    return this.#change(id, () => content, wanted, asking);
  }

  /** Throws as `replace`, and what `patched` throws. */
  patch(id: string, operations: readonly Operation[], wanted: Wanted, asking: Asking): Promise<Answered> {
    return this.#change(id, (row) => patched(userSchema, contentOf(row), operations), wanted, asking);
  }

  /** Throws 404, 412, 409 `last_administrator`. */
  async delete(id: string, asking: Asking): Promise<void> {
    await this.#row(this.#parts.database.db, id);
    await this.#parts.users.delete(id, async (tx, user) => {
      requireMatch(asking.request, versionOfUser(await this.#row(tx, id)));
      await this.#tell("user.deleted", asking)(tx, user);
    });
  }

  #change(id: string, next: (row: UserRow) => Resource, wanted: Wanted, asking: Asking): Promise<Answered> {
    return this.#once(async (tx) => {
      await this.#row(tx, id);
      await this.#parts.users.inTurn(tx, id);
      const before = await this.#row(tx, id);
      requireMatch(asking.request, versionOfUser(before));
      const fields = fieldsOf(next(before), before.is_active === 1);
      // RFC 7644 §3.5.2.1: what changes nothing does not change `lastModified` either.
      if (isSame(before, fields)) return this.#answer(before, wanted, tx);
      const email = await this.#addressFor(tx, before, fields);
      await this.#parts.users.provision(tx, id, { ...fields, email });
      const after = await this.#row(tx, id);
      await linkIdentity(this.#parts, tx, { before, after }, asking);
      const active = fields.isActive === (before.is_active === 1) ? undefined : fields.isActive;
      await this.#tell("user.updated", asking, { active })(tx, after);
      return this.#answer(after, wanted, tx);
    });
  }

  async #insert(tx: Tx, fields: AccountFields): Promise<UserRow> {
    const { users } = this.#parts;
    const said = { name: fields.name, source: SCIM, provisioned: fields };
    const made =
      (await users.insertFrom(tx, { ...said, email: fields.email })) ??
      // Addresses need not be anybody's alone (RFC 7643 §4.1.2); names must.
      (fields.mayShare ? await users.insertFrom(tx, said) : undefined);
    if (!made) throw nameTaken();
    return this.#row(tx, made.id);
  }

  /** A further account may not have an address that another has, unless it is only one of its e-mails. */
  async #addressFor(tx: Tx, row: UserRow, { email, mayShare }: AccountFields): Promise<string> {
    const own = row.email.endsWith("@users.invalid") ? row.email : `${row.id.toLowerCase()}@users.invalid`;
    if (email === undefined) return own;
    if (!mayShare) return email;
    const other = await tx
      .selectFrom("users")
      .select("id")
      .where("email", "=", email)
      .where("id", "!=", row.id)
      .executeTakeFirst();
    return other ? own : email;
  }

  async #row(db: Db | Tx, id: string): Promise<UserRow> {
    const row = await people(db).selectAll().where("users.id", "=", id).executeTakeFirst();
    if (row) return row;
    throw new Problem("not_found", "user_not_found", "There is no such user. Check the id.");
  }

  async #answer(row: UserRow, wanted: Wanted, db?: Tx): Promise<Answered> {
    const [resource] = await this.#view([row], wanted, db);
    return { resource: resource!, version: versionOfUser(row) };
  }

  async #view(
    rows: readonly UserRow[],
    wanted: Wanted,
    db: Db | Tx = this.#parts.database.db,
  ): Promise<Resource[]> {
    const groups = isWanted(userSchema, "groups", wanted) ? await groupsOf(db, rows) : undefined;
    const base = scimBase(this.#parts);
    return rows.map((row) => project(userSchema, viewUser(row, groups?.get(row.id), base), wanted));
  }

  #tell(event: string, { caller, requestId }: Asking, detail: Record<string, unknown> = {}) {
    return aboutUser(this.#parts.record, event, { caller, requestId }, { via: SCIM, ...detail });
  }

  /** Two at once may want one name; the index decides, in the words of the refusal. */
  async #once<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    try {
      return await this.#parts.database.transaction(work);
    } catch (error) {
      if ((error as { code?: unknown }).code === UNIQUE_VIOLATION) throw nameTaken();
      throw error;
    }
  }
}

/** PostgreSQL's SQLSTATE `unique_violation`; SQLite has one writer, who has looked. */
const UNIQUE_VIOLATION = "23505";

function people(db: Db | Tx) {
  return db.selectFrom("users").where("users.kind", "=", "person");
}

async function groupsOf(db: Db | Tx, rows: readonly UserRow[]): Promise<Map<string, Membership[]>> {
  if (rows.length === 0) return new Map();
  const found = await db
    .selectFrom("group_members")
    .innerJoin("groups", "groups.id", "group_members.group_id")
    .select(["user_id", "groups.id", "groups.name"])
    .where(
      "user_id",
      "in",
      rows.map(({ id }) => id),
    )
    .orderBy(sql`groups.name`)
    .execute();
  return Map.groupBy(found, ({ user_id }) => user_id);
}

function isSame(row: UserRow, fields: AccountFields): boolean {
  const same =
    row.scim_json !== null &&
    row.user_name === fields.userName &&
    row.name === fields.name &&
    row.external_id === fields.externalId &&
    (row.is_active === 1) === fields.isActive &&
    (fields.mayShare || row.email === fields.email);
  return same && isDeepStrictEqual(JSON.parse(row.scim_json!), JSON.parse(fields.scim));
}
