import { Hidden, type KeyedHash, newId, newSecret, Problem, type World } from "../base/index.ts";
import type { Database, Tx } from "../db/index.ts";
import { KeyCache } from "./key-cache.ts";
import { countKeys, type KeyFilter, readKeys, readPresentedKey } from "./key-rows.ts";
import {
  fixedValue,
  isNameTaken,
  nameTaken,
  noPreviousValue,
  requireUser,
  unknownKey,
  unknownKeyNamed,
  writeConfigs,
} from "./key-writes.ts";
import {
  judge,
  judgePresented,
  type KeyAnswer,
  type KeyConfig,
  keyPrefix,
  type VirtualKey,
} from "./virtual-key.ts";

export interface VirtualKeysParts {
  world: World;
  database: Database;
  hash: KeyedHash;
}

/** What must follow a change of a key, in its transaction; handed over in app.ts. */
export interface KeyListener {
  /** `before` is undefined for a new key, `after` for a deleted one. Runs before the rows of a deleted key go. */
  changed?(tx: Tx, before: VirtualKey | undefined, after: VirtualKey | undefined): Promise<void>;
  /** Credentials, flows and grants of the key end here. */
  deleted?(tx: Tx, key: VirtualKey): Promise<void>;
}

/** Work of the caller that belongs into the same transaction (for example its audit line). */
export type AlsoKey = (tx: Tx, key: VirtualKey) => Promise<void>;

export interface NewKey {
  name: string;
  description?: string;
  isActive?: boolean;
  expiresAt?: number;
  userId?: string;
  configs: readonly KeyConfig[];
  /** Only the configuration file names the value itself. */
  value?: Hidden;
  source: "api" | "file";
}

/** What changes; `undefined` leaves a field as it is, `expiresAt: null` removes the expiry. */
export interface KeyPatch {
  name?: string;
  description?: string;
  isActive?: boolean;
  expiresAt?: number | null;
  configs?: readonly KeyConfig[];
  /** A new value, at once: no value from before counts any more. */
  value?: Hidden;
  /** Whether the configuration file names the value; only the file says so. */
  valueFromFile?: boolean;
}

const TAIL = 4;

/** The virtual keys: stored by the keyed hash of their value, authenticated from memory. */
export class VirtualKeys {
  /** What must follow a change, inside its transaction; filled in app.ts. */
  readonly listeners: KeyListener[] = [];
  readonly #world: World;
  readonly #database: Database;
  readonly #hash: KeyedHash;
  readonly #cache: KeyCache;

  constructor(parts: VirtualKeysParts) {
    this.#world = parts.world;
    this.#database = parts.database;
    this.#hash = parts.hash;
    this.#cache = new KeyCache(parts.database);
  }

  /** Whose value this is. From memory once seen; another replica's change is known within a second. */
  async authenticate(value: string): Promise<KeyAnswer> {
    const now = this.#world.now().getTime();
    if (!value.startsWith(keyPrefix)) return { ok: false, reason: "unknown" };
    return judgePresented(await this.#cache.byHash(this.#hash.of("virtual_key", value)), now);
  }

  /** The key whatever its state, from memory once seen. */
  find(id: string): Promise<VirtualKey | undefined> {
    return this.#cache.byId(id);
  }

  /** Whether the key may be used now; grants made with a key ask at every use. */
  async check(id: string): Promise<KeyAnswer> {
    return judge(await this.#cache.byId(id), this.#world.now().getTime());
  }

  /** The key of this name or id that may be used now; none where a name is another's id. Not from memory. */
  async named(named: string): Promise<VirtualKey | undefined> {
    const keys = await readKeys(this.#database.db, { named });
    return keys.length === 1 && judge(keys[0], this.#world.now().getTime()).ok ? keys[0] : undefined;
  }

  /** The keys of a user, from memory once seen. */
  ofUser(userId: string): Promise<readonly VirtualKey[]> {
    return this.#cache.byUser(userId);
  }

  /** Throws 404. */
  async get(id: string): Promise<VirtualKey> {
    const [key] = await readKeys(this.#database.db, { ids: [id] });
    if (!key) throw unknownKey();
    return key;
  }

  async list(filter: KeyFilter): Promise<{ keys: VirtualKey[]; total: number }> {
    const { db } = this.#database;
    return { keys: await readKeys(db, filter), total: await countKeys(db, filter) };
  }

  /** Every key, for the reconciliation with the file. */
  all(): Promise<VirtualKey[]> {
    return readKeys(this.#database.db, {});
  }

  /** The value is in the answer and nowhere else. Throws 409 `name_taken`, `value_taken`; 400 for an unknown user. */
  async create(key: NewKey, also?: AlsoKey): Promise<{ key: VirtualKey; value: Hidden }> {
    const value = key.value ?? new Hidden(newSecret(this.#world, keyPrefix));
    const id = newId(this.#world, "vk");
    const created = await this.#database.transaction(async (tx) => {
      await this.#refuseTaken(tx, key.name, value);
      if (key.userId !== undefined) await requireUser(tx, key.userId);
      await this.#insert(tx, id, key, value);
      await writeConfigs(tx, id, key.configs);
      return this.#changed(tx, undefined, id, also);
    });
    return { key: created, value };
  }

  /** Throws 404, 409 `name_taken`. */
  update(id: string, patch: KeyPatch, also?: AlsoKey): Promise<VirtualKey> {
    return this.#database.transaction((tx) => this.#update(tx, id, patch, also));
  }

  /**
   * Gives the key a new value, which is in the answer and nowhere else. The one before counts for `graceMs` more; one
   * from before that ends now. Throws 404, 409 `managed_by_file` where the file names the value.
   */
  async rotate(id: string, graceMs: number, also?: AlsoKey): Promise<{ key: VirtualKey; value: Hidden }> {
    const value = new Hidden(newSecret(this.#world, keyPrefix));
    const key = await this.#database.transaction(async (tx) => {
      const before = await this.#locked(tx, id);
      if (before.hasFixedValue) throw fixedValue();
      const now = this.#world.now().getTime();
      await tx
        .updateTable("virtual_keys")
        .set((row) => ({
          ...this.#valueColumns(value),
          previous_value_hash: graceMs > 0 ? row.ref("value_hash") : null,
          previous_value_expires_at: graceMs > 0 ? now + graceMs : null,
          updated_at: now,
        }))
        .where("id", "=", id)
        .execute();
      return this.#changed(tx, before, id, also);
    });
    return { key, value };
  }

  /** Makes `configs` all the keys that name `upstreamId`; other upstreams of the keys stay. 400 for an unknown key. */
  async setUpstream(
    tx: Tx,
    upstreamId: string,
    configs: ReadonlyMap<string, readonly string[]>,
  ): Promise<void> {
    const holders = await tx
      .selectFrom("virtual_key_upstreams")
      .select("virtual_key_id")
      .where("upstream_id", "=", upstreamId)
      .execute();
    const ids = [...new Set([...configs.keys(), ...holders.map((row) => row.virtual_key_id)])];
    if (ids.length === 0) return;
    const keys = await readKeys(tx, { ids });
    if (keys.length < ids.length) throw unknownKeyNamed();
    for (const key of keys) {
      const others = key.configs.filter((config) => config.upstreamId !== upstreamId);
      const tools = configs.get(key.id);
      await this.#update(tx, key.id, { configs: tools ? [...others, { upstreamId, tools }] : others });
    }
  }

  async #update(tx: Tx, id: string, patch: KeyPatch, also?: AlsoKey): Promise<VirtualKey> {
    const before = await this.#locked(tx, id);
    const { name, value } = patch;
    await this.#refuseTaken(tx, name === before.name ? undefined : name, value, id);
    await tx
      .updateTable("virtual_keys")
      .set({
        ...(name === undefined ? {} : { name }),
        ...(patch.description === undefined ? {} : { description: patch.description }),
        ...(patch.isActive === undefined ? {} : { is_active: patch.isActive ? 1 : 0 }),
        ...(patch.expiresAt === undefined ? {} : { expires_at: patch.expiresAt }),
        ...(value === undefined ? {} : { ...this.#valueColumns(value), ...noPreviousValue }),
        ...(patch.valueFromFile === undefined ? {} : { value_from_file: patch.valueFromFile ? 1 : 0 }),
        updated_at: this.#world.now().getTime(),
      })
      .where("id", "=", id)
      .execute();
    if (patch.configs) await writeConfigs(tx, id, patch.configs);
    return this.#changed(tx, before, id, also);
  }

  /** Removes the key and, through the listeners, what hangs on it. Throws 404. */
  async delete(id: string, also?: AlsoKey): Promise<void> {
    await this.#database.transaction((tx) => this.#delete(tx, id, also));
  }

  /** Removes every key of a user, in the transaction that removes the user. */
  async deleteOf(tx: Tx, userId: string): Promise<void> {
    for (const key of await readKeys(tx, { userId })) await this.#delete(tx, key.id);
  }

  async #delete(tx: Tx, id: string, also?: AlsoKey): Promise<void> {
    const before = await this.#locked(tx, id);
    await also?.(tx, before);
    for (const listener of this.listeners) await listener.deleted?.(tx, before);
    await tx.deleteFrom("virtual_key_upstreams").where("virtual_key_id", "=", id).execute();
    await tx.deleteFrom("virtual_keys").where("id", "=", id).execute();
    for (const listener of this.listeners) await listener.changed?.(tx, before, undefined);
    await this.#note(tx, before);
  }

  /** Whether `value` is the key's own; for the file, whose values are compared at every start. */
  async hasValue(id: string, value: Hidden): Promise<boolean> {
    const row = await this.#database.db
      .selectFrom("virtual_keys")
      .select("value_hash")
      .where("id", "=", id)
      .executeTakeFirst();
    return row?.value_hash === this.#hash.of("virtual_key", value.reveal());
  }

  async #changed(tx: Tx, before: VirtualKey | undefined, id: string, also?: AlsoKey): Promise<VirtualKey> {
    const [after] = await readKeys(tx, { ids: [id] });
    await also?.(tx, after!);
    for (const listener of this.listeners) await listener.changed?.(tx, before, after);
    await this.#note(tx, after!);
    return after!;
  }

  async #locked(tx: Tx, id: string): Promise<VirtualKey> {
    if (this.#database.kind === "postgres")
      await tx.selectFrom("virtual_keys").select("id").where("id", "=", id).forUpdate().execute();
    const [key] = await readKeys(tx, { ids: [id] });
    if (!key) throw unknownKey();
    return key;
  }

  async #insert(tx: Tx, id: string, key: NewKey, value: Hidden): Promise<void> {
    const now = this.#world.now().getTime();
    const result = await tx
      .insertInto("virtual_keys")
      .values({
        id,
        name: key.name,
        source: key.source,
        description: key.description ?? "",
        ...this.#valueColumns(value),
        value_from_file: key.source === "file" && key.value ? 1 : 0,
        is_active: key.isActive === false ? 0 : 1,
        expires_at: key.expiresAt ?? null,
        user_id: key.userId ?? null,
        created_at: now,
        updated_at: now,
      })
      // Two at once: the database decides which of them has the name.
      .onConflict((conflict) => conflict.column("name").doNothing())
      .executeTakeFirst();
    if (result.numInsertedOrUpdatedRows === 0n) throw nameTaken();
  }

  #valueColumns(value: Hidden): { value_hash: string; value_tail: string } {
    const plain = value.reveal();
    return { value_hash: this.#hash.of("virtual_key", plain), value_tail: plain.slice(-TAIL) };
  }

  /** `ownId`: the key that gets the value; what it had itself before is not taken. */
  async #refuseTaken(
    tx: Tx,
    name: string | undefined,
    value: Hidden | undefined,
    ownId?: string,
  ): Promise<void> {
    if (name !== undefined && (await isNameTaken(tx, name))) throw nameTaken();
    const holder = value && (await readPresentedKey(tx, this.#hash.of("virtual_key", value.reveal())));
    if (holder && holder.key.id !== ownId) {
      throw new Problem(
        "conflict",
        "value_taken",
        "Another virtual key has this value. Use a different one.",
        {
          param: "value",
        },
      );
    }
  }

  async #note(tx: Tx, { id, userId }: VirtualKey): Promise<void> {
    const { changes } = this.#database;
    const now = this.#world.now().getTime();
    await changes.note(tx, "virtual_key", id, now);
    // Nobody remembers yet that a new key is this person's.
    if (userId !== undefined) await changes.note(tx, "access", userId, now);
  }
}
