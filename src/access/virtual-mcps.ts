import { sql } from "kysely";
import { newId, Problem, type World } from "../base/index.ts";
import { type Database, EVERYTHING, type Tx } from "../db/index.ts";
import type { Memberships } from "../identity/index.ts";
import type { Subject } from "./access.ts";
import { judge } from "./virtual-key.ts";
import type { VirtualKeys } from "./virtual-keys.ts";
import {
  plainNamesNeedOne,
  slugTaken,
  unknownVirtualMcp,
  type VirtualMcp,
  virtualMcpNameTaken,
} from "./virtual-mcp.ts";
import {
  type Bundle,
  countVirtualMcps,
  missing,
  readVirtualMcps,
  type VirtualMcpFilter,
  writeBundle,
} from "./virtual-mcp-rows.ts";

export interface VirtualMcpsParts {
  world: World;
  database: Database;
  keys: Pick<VirtualKeys, "ofUser">;
  memberships: Memberships;
}

/** What must follow the end of a virtual MCP, in its transaction; handed over in app.ts. */
export interface VirtualMcpListener {
  deleted?(tx: Tx, virtualMcp: VirtualMcp): Promise<void>;
}

/** Work of the caller that belongs into the same transaction (for example its audit line). */
export type AlsoVirtualMcp = (tx: Tx, virtualMcp: VirtualMcp) => Promise<void>;

export interface NewVirtualMcp extends Omit<Bundle, "groupIds"> {
  groupIds?: readonly string[];
  slug: string;
  name: string;
  description?: string;
  disabled?: boolean;
  names?: VirtualMcp["names"];
  listing?: VirtualMcp["listing"];
  source: "api" | "file";
}

/** What changes; `undefined` leaves a field as it is, lists are replaced whole. */
export type VirtualMcpPatch = Partial<Omit<NewVirtualMcp, "slug" | "source">>;

/** Virtual MCPs: the rows, and all of them in memory for whoever must not wait. */
export class VirtualMcps {
  /** Filled in app.ts; run inside the transaction. */
  readonly listeners: VirtualMcpListener[] = [];
  readonly #world: World;
  readonly #database: Database;
  readonly #keys: Pick<VirtualKeys, "ofUser">;
  readonly #memberships: Memberships;
  #bySlug: Promise<ReadonlyMap<string, VirtualMcp>> | undefined;

  constructor({ world, database, keys, memberships }: VirtualMcpsParts) {
    this.#world = world;
    this.#database = database;
    this.#keys = keys;
    this.#memberships = memberships;
    database.changes.listen(({ topic }) => {
      // A reading that began before is thrown away with it.
      if (topic === "virtual_mcp" || topic === EVERYTHING) this.#bySlug = undefined;
    });
  }

  /**
   * The virtual MCP of this slug, if the subject may use it now: from memory once asked. Undefined for an unknown one, a
   * disabled one and one it is not attached to, which are not told apart.
   */
  async serving(slug: string, subject: Subject): Promise<VirtualMcp | undefined> {
    const virtualMcp = (await this.#all()).get(slug);
    if (!virtualMcp || virtualMcp.disabled) return undefined;
    return (await this.#isAttached(virtualMcp, subject)) ? virtualMcp : undefined;
  }

  /** To the key, or to the user it acts as or a group of theirs; to a person who signed in also through any key of theirs. */
  async #isAttached(
    { virtualKeyIds, userIds, groupIds }: VirtualMcp,
    { owner, virtualKeyId }: Subject,
  ): Promise<boolean> {
    const keyId = virtualKeyId ?? (owner.mode === "vk" ? owner.id : undefined);
    if (keyId !== undefined && virtualKeyIds.has(keyId)) return true;
    if (owner.mode !== "user") return false;
    if (userIds.has(owner.id)) return true;
    if (groupIds.size > 0) {
      const mine = await this.#memberships.of(owner.id);
      if ([...groupIds].some((id) => mine.has(id))) return true;
    }
    if (keyId !== undefined || virtualKeyIds.size === 0) return false;
    const now = this.#world.now().getTime();
    const own = await this.#keys.ofUser(owner.id);
    return own.some((key) => virtualKeyIds.has(key.id) && judge(key, now).ok);
  }

  #all(): Promise<ReadonlyMap<string, VirtualMcp>> {
    if (this.#bySlug) return this.#bySlug;
    const reading = readVirtualMcps(this.#database.db, {}).then(
      (all) => new Map(all.map((virtualMcp) => [virtualMcp.slug, virtualMcp])),
    );
    reading.catch(() => {
      if (this.#bySlug === reading) this.#bySlug = undefined;
    });
    this.#bySlug = reading;
    return reading;
  }

  /** Throws 404. */
  async get(id: string): Promise<VirtualMcp> {
    const [virtualMcp] = await readVirtualMcps(this.#database.db, { ids: [id] });
    if (!virtualMcp) throw unknownVirtualMcp();
    return virtualMcp;
  }

  async list(filter: VirtualMcpFilter): Promise<{ virtualMcps: VirtualMcp[]; total: number }> {
    const { db } = this.#database;
    return { virtualMcps: await readVirtualMcps(db, filter), total: await countVirtualMcps(db, filter) };
  }

  /** Throws 409 `slug_taken`, `name_taken`; 400 `unknown_virtual_key`, `unknown_user`, `unknown_group`, `plain_names_one_upstream`. */
  create(given: NewVirtualMcp, also?: AlsoVirtualMcp): Promise<VirtualMcp> {
    const id = newId(this.#world, "vmcp");
    return this.#database.transaction(async (tx) => {
      await refuseTakenName(tx, given.name);
      await refuseUnknown(tx, given);
      await this.#insert(tx, id, given);
      await writeBundle(tx, id, given);
      return this.#changed(tx, id, also);
    });
  }

  /** `change` sees what is stored and says what becomes different. Throws 404, 409 `name_taken`, 400 as `create`. */
  update(
    id: string,
    change: (before: VirtualMcp) => VirtualMcpPatch,
    also?: AlsoVirtualMcp,
  ): Promise<VirtualMcp> {
    return this.#database.transaction(async (tx) => {
      const before = await this.#locked(tx, id);
      const patch = change(before);
      const { name, description, disabled, names, listing } = patch;
      if (name !== undefined && name !== before.name) await refuseTakenName(tx, name);
      await refuseUnknown(tx, patch);
      await tx
        .updateTable("virtual_mcps")
        .set({
          ...(name === undefined ? {} : { name }),
          ...(description === undefined ? {} : { description }),
          ...(disabled === undefined ? {} : { disabled: disabled ? 1 : 0 }),
          ...(names === undefined ? {} : { names }),
          ...(listing === undefined ? {} : { listing }),
          updated_at: this.#world.now().getTime(),
        })
        .where("id", "=", id)
        .execute();
      await writeBundle(tx, id, patch);
      return this.#changed(tx, id, also);
    });
  }

  /** Removes it and, through the listeners, the grants for its address. Throws 404. */
  async delete(id: string, also?: AlsoVirtualMcp): Promise<void> {
    await this.#database.transaction(async (tx) => {
      const before = await this.#locked(tx, id);
      await also?.(tx, before);
      for (const listener of this.listeners) await listener.deleted?.(tx, before);
      await tx.deleteFrom("virtual_mcps").where("id", "=", id).execute();
      await this.#note(tx, id);
    });
  }

  async #insert(tx: Tx, id: string, given: NewVirtualMcp): Promise<void> {
    const now = this.#world.now().getTime();
    const result = await tx
      .insertInto("virtual_mcps")
      .values({
        id,
        slug: given.slug,
        name: given.name,
        source: given.source,
        description: given.description ?? "",
        disabled: given.disabled ? 1 : 0,
        names: given.names ?? "prefixed",
        listing: given.listing ?? "full",
        created_at: now,
        updated_at: now,
      })
      // Two at once: the database decides which of them has the slug.
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirst();
    if (result.numInsertedOrUpdatedRows !== 0n) return;
    throw (await isSlugTaken(tx, given.slug)) ? slugTaken() : virtualMcpNameTaken();
  }

  async #locked(tx: Tx, id: string): Promise<VirtualMcp> {
    if (this.#database.kind === "postgres")
      await tx.selectFrom("virtual_mcps").select("id").where("id", "=", id).forUpdate().execute();
    const [virtualMcp] = await readVirtualMcps(tx, { ids: [id] });
    if (!virtualMcp) throw unknownVirtualMcp();
    return virtualMcp;
  }

  async #changed(tx: Tx, id: string, also?: AlsoVirtualMcp): Promise<VirtualMcp> {
    const [after] = await readVirtualMcps(tx, { ids: [id] });
    if (after!.names === "plain" && after!.tools.length > 1) throw plainNamesNeedOne();
    await also?.(tx, after!);
    await this.#note(tx, id);
    return after!;
  }

  #note(tx: Tx, id: string): Promise<void> {
    return this.#database.changes.note(tx, "virtual_mcp", id, this.#world.now().getTime());
  }
}

async function isSlugTaken(tx: Tx, slug: string): Promise<boolean> {
  const row = await tx
    .selectFrom("virtual_mcps")
    .select("id")
    .where(sql<boolean>`lower(slug) = ${slug.toLowerCase()}`)
    .executeTakeFirst();
  return row !== undefined;
}

async function refuseTakenName(tx: Tx, name: string): Promise<void> {
  const row = await tx.selectFrom("virtual_mcps").select("id").where("name", "=", name).executeTakeFirst();
  if (row) throw virtualMcpNameTaken();
}

async function refuseUnknown(
  tx: Tx,
  { virtualKeyIds = [], userIds = [], groupIds = [] }: Partial<Bundle>,
): Promise<void> {
  if ((await missing(tx, "groups", groupIds)).length > 0) {
    throw new Problem("invalid", "unknown_group", "There is no group with one of these ids.", {
      param: "group_ids",
    });
  }
  if ((await missing(tx, "virtual_keys", virtualKeyIds)).length > 0) {
    throw new Problem("invalid", "unknown_virtual_key", "There is no virtual key with one of these ids.", {
      param: "virtual_key_ids",
    });
  }
  if ((await missing(tx, "users", userIds)).length > 0) {
    throw new Problem("invalid", "unknown_user", "There is no user with one of these ids.", {
      param: "user_ids",
    });
  }
}
