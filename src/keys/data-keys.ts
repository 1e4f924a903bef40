import { type DataKey, dataKeyId, newId, type Seal, SealFault, type World } from "../base/index.ts";
import { type Database, type Db, type NewRow, type SealedColumn, type Tx, WrongKey } from "../db/index.ts";
import {
  hasTable,
  insertKeys,
  isPosterns,
  type KeyRow,
  readCheckValue,
  readKeys,
  topic,
} from "./key-rows.ts";
import type { KeyProvider } from "./provider.ts";
import { countSealed } from "./reseal.ts";

const DATA_KEY_BYTES = 32;

export interface DataKeysParts {
  world: World;
  seal: Seal;
  /** The first wraps, all unwrap. */
  providers: readonly KeyProvider[];
  /** Configured keys that may have sealed values themselves, before there were data keys. */
  direct: readonly Uint8Array[];
  /** Where sealed values lie; for the sentence that says what a missing key costs. */
  columns: readonly SealedColumn[];
}

/**
 * The data keys of this process: unwrapped at the start and when another process makes one, never for a value. A new
 * database seals with data keys from its first start. One of an older version goes on as before until the first
 * rotation, because replicas of that version could not open what a data key sealed.
 */
export class DataKeys {
  readonly #parts: DataKeysParts;
  readonly #unwrapped = new Map<string, Uint8Array>();
  #rows: KeyRow[] = [];
  #database: Database | undefined;
  #loading: Promise<boolean> | undefined;

  constructor(parts: DataKeysParts) {
    this.#parts = parts;
  }

  get primary(): KeyProvider {
    return this.#parts.providers[0]!;
  }

  /** Whether a data key seals; else the configured key does. */
  get active(): boolean {
    return this.#rows.some(({ state }) => state === "active");
  }

  /**
   * Before anything is written, also by a migration: the configuration fits what is there (R28). Rejects with `WrongKey`
   * or `KeyProviderDown`.
   */
  async check(db: Db, kind: Database["kind"]): Promise<void> {
    if (!(await isPosterns(db, kind))) return;
    // Before the keys: a replica that starts for the first time beside this one writes them first.
    const checkValue = await readCheckValue(db);
    const rows = (await hasTable(db, kind, "data_keys")) ? await readKeys(db) : [];
    await this.#take(db, rows);
    if (checkValue) this.#verify(checkValue);
  }

  /** Makes keys where there are none yet, and from here on follows what other processes make. Rejects as `check` does. */
  async open(database: Database): Promise<void> {
    this.#database = database;
    await this.#take(database.db, await readKeys(database.db));
    await this.#provide(database);
    this.#parts.seal.renewWith(() => this.renew());
    database.changes.listen((change) => {
      if (change.topic === topic) void this.renew();
    });
  }

  /** Looks for keys that came since; true when there are some. Never rejects: without them it goes on with what it has. */
  renew(): Promise<boolean> {
    this.#loading ??= this.#renew().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  /** A data key as it is in memory. Throws for one that `check` or `open` would have refused. */
  bytesOf(row: KeyRow): DataKey {
    const bytes = this.#unwrapped.get(row.id);
    if (!bytes) throw new Error(`the data key ${row.id} is not unwrapped`);
    return { bytes, direct: row.direct === 1 };
  }

  /** A new row for a key, among `others`. What is kept only for what it sealed is `retired`. */
  async wrap(
    key: DataKey,
    state: KeyRow["state"],
    others: readonly Pick<KeyRow, "instance_id" | "created_at">[],
  ): Promise<NewRow<"data_keys">> {
    const id = dataKeyId(key);
    const now = this.#parts.world.now().getTime();
    const instanceId = others[0]?.instance_id ?? newId(this.#parts.world, "inst");
    const wrapped = await this.primary.wrap(key.bytes, { dataKeyId: id, instanceId });
    return {
      id,
      direct: key.direct ? 1 : 0,
      state,
      wrapped: wrapped.bytes,
      provider: this.primary.type,
      wrapped_by: wrapped.by,
      instance_id: instanceId,
      // Which one is the oldest must never change, whatever the clocks of those who make keys say.
      created_at: Math.max(now, ...others.map((other) => other.created_at + 1)),
      retired_at: state === "retired" ? now : null,
    };
  }

  /** A key that nobody has yet. */
  wrapNew(
    state: KeyRow["state"],
    others: readonly Pick<KeyRow, "instance_id" | "created_at">[],
  ): Promise<NewRow<"data_keys">> {
    const bytes = this.#parts.world.random(DATA_KEY_BYTES);
    return this.wrap({ bytes, direct: false }, state, others);
  }

  /** The next key is always there and known to every replica long before it seals anything. */
  async #provide(database: Database): Promise<void> {
    const none = this.#rows.length === 0;
    if (this.#rows.some(({ state }) => state === "next")) return;
    const isNew = none && (await readCheckValue(database.db)) === undefined;
    // Wrapped before the transaction: a provider may be on the network.
    const active = isNew ? [await this.wrapNew("active", [])] : [];
    const keys = [...active, await this.wrapNew("next", [...this.#rows, ...active])];
    await insertKeys(database, keys, keys[0]!.created_at, (rows) =>
      none ? rows.length === 0 : !rows.some(({ state }) => state === "next"),
    );
    await this.#take(database.db, await readKeys(database.db));
  }

  async #renew(): Promise<boolean> {
    try {
      const rows = await readKeys(this.#database!.db);
      const came = rows.some(({ id }) => !this.#unwrapped.has(id));
      await this.#take(this.#database!.db, rows);
      return came;
    } catch (error) {
      this.#parts.world.log.warn("keys.not_followed", { error });
      return false;
    }
  }

  async #take(db: Db | Tx, rows: KeyRow[]): Promise<void> {
    const unknown = rows.filter(({ id }) => !this.#unwrapped.has(id));
    const orphans = unknown.filter((row) => !this.#providerOf(row));
    if (orphans.length > 0) throw await this.#missing(db, orphans, rows.length);
    for (const row of unknown) this.#unwrapped.set(row.id, await this.#unwrap(row));
    this.#rows = rows;
    const active = rows.find(({ state }) => state === "active");
    this.#parts.seal.use({
      direct: this.#parts.direct,
      data: rows.map((row) => this.bytesOf(row)),
      active: active && this.bytesOf(active),
    });
  }

  #providerOf(row: KeyRow): KeyProvider | undefined {
    return this.#parts.providers.find((one) => one.type === row.provider && one.unwraps(row.wrapped_by));
  }

  async #unwrap(row: KeyRow): Promise<Uint8Array> {
    const about = { dataKeyId: row.id, instanceId: row.instance_id };
    const wrapped = { bytes: row.wrapped, by: row.wrapped_by };
    const bytes = await this.#providerOf(row)!.unwrap(wrapped, about);
    if (dataKeyId({ bytes, direct: row.direct === 1 }) !== row.id) {
      throw new WrongKey(
        `${row.wrapped_by} unwraps the data key ${row.id} to another key. Restore the table data_keys from a backup.`,
      );
    }
    return bytes;
  }

  async #missing(db: Db | Tx, orphans: readonly KeyRow[], all: number): Promise<WrongKey> {
    const names = [...new Set(orphans.map((row) => `${row.wrapped_by} (${row.provider})`))].join(", ");
    const configured = this.#parts.providers.map((one) => `${one.key} (${one.type})`).join(", ");
    const values = await this.#valuesOf(db, orphans);
    return new WrongKey(
      `The encryption key ${configured} does not open this database: ${orphans.length} of its ${all} data keys${values} are wrapped by ${names}, which is not configured. ` +
        "Put that key back, behind the new one where there is one, start, and run: postern keys rotate. It says which keys may then go.",
    );
  }

  async #valuesOf(db: Db | Tx, orphans: readonly KeyRow[]): Promise<string> {
    try {
      const counts = await countSealed(db, this.#parts.columns);
      const headers = orphans.map(({ id, direct }) => `${direct === 1 ? "01" : "02"}${id}`);
      const sum = headers.reduce((total, header) => total + (counts.get(header) ?? 0), 0);
      return `, which seal ${sum.toLocaleString("en-US")} values,`;
    } catch {
      // The tables are those of an older version: the sentence is clear enough without.
      return "";
    }
  }

  #verify(sealed: Uint8Array): void {
    try {
      this.#parts.seal.open(sealed, ["instance", "hash_key"]);
    } catch (error) {
      if (error instanceof SealFault) throw this.#wrong(sealed);
      throw error;
    }
  }

  #wrong(sealed: Uint8Array): WrongKey {
    const named = Buffer.from(sealed).toString("hex", 1, 9);
    const configured = this.#parts.direct.map((bytes) => dataKeyId({ bytes, direct: true })).join(", ");
    return new WrongKey(
      `The encryption key (id ${configured || "none"}) does not open this database, which was sealed with the key ${named}. ` +
        "Start with the key it was made with: POSTERN_ENCRYPTION_KEY, or the key file beside the SQLite file.",
    );
  }
}
