import { type Database, EVERYTHING } from "../db/index.ts";
import { readKeys, readPresentedKey } from "./key-rows.ts";
import type { PresentedKey, VirtualKey } from "./virtual-key.ts";

const MOST_ENTRIES = 20_000;

/**
 * Keys in memory, so that a call does not read the database. Misses are not kept: guesses would fill it. A change of a key
 * drops that key and its person's list; a key that a person gets is told as a change of what the person may use.
 */
export class KeyCache {
  readonly #database: Database;
  readonly #byHash = new Map<string, PresentedKey>();
  readonly #byId = new Map<string, VirtualKey>();
  readonly #byUser = new Map<string, readonly VirtualKey[]>();
  /** Where a key is found in the others. */
  readonly #hashesOf = new Map<string, Set<string>>();
  readonly #userOf = new Map<string, string>();
  readonly #keysOf = new Map<string, Set<string>>();
  #epoch = 0;

  constructor(database: Database) {
    this.#database = database;
    database.changes.listen(({ topic, key }) => {
      if (topic === "virtual_key") this.#dropKey(key);
      else if (topic === "user" || topic === "access") this.#dropUser(key);
      // Deleting an upstream removes its rows from keys.
      else if (topic === "upstream" || topic === EVERYTHING) this.#dropAll();
    });
  }

  byHash(hash: string): Promise<PresentedKey | undefined> {
    return this.#through(
      this.#byHash,
      hash,
      () => readPresentedKey(this.#database.db, hash),
      (found) => {
        this.#learn(found.key);
        add(this.#hashesOf, found.key.id, hash);
      },
    );
  }

  byId(id: string): Promise<VirtualKey | undefined> {
    const read = async () => (await readKeys(this.#database.db, { ids: [id] }))[0];
    return this.#through(this.#byId, id, read, (key) => this.#learn(key));
  }

  async byUser(userId: string): Promise<readonly VirtualKey[]> {
    const read = () => readKeys(this.#database.db, { userId });
    const keys = await this.#through(this.#byUser, userId, read, (all) => {
      for (const key of all) this.#learn(key);
    });
    return keys ?? [];
  }

  async #through<V>(
    map: Map<string, V>,
    key: string,
    read: () => Promise<V | undefined>,
    learn: (value: V) => void,
  ): Promise<V | undefined> {
    const known = map.get(key);
    if (known !== undefined) return known;
    const epoch = this.#epoch;
    const value = await read();
    // A change that came while reading may already be newer than what was read.
    if (value !== undefined && epoch === this.#epoch) {
      if (map.size >= MOST_ENTRIES) this.#clear();
      map.set(key, value);
      learn(value);
    }
    return value;
  }

  #learn({ id, userId }: VirtualKey): void {
    if (userId === undefined) return;
    this.#userOf.set(id, userId);
    add(this.#keysOf, userId, id);
  }

  #dropKey(id: string): void {
    this.#epoch += 1;
    const userId = this.#userOf.get(id);
    this.#forget(id);
    if (userId !== undefined) this.#byUser.delete(userId);
  }

  #dropUser(userId: string): void {
    this.#epoch += 1;
    this.#byUser.delete(userId);
    for (const id of this.#keysOf.get(userId) ?? []) this.#forget(id);
    this.#keysOf.delete(userId);
  }

  #forget(id: string): void {
    this.#byId.delete(id);
    for (const hash of this.#hashesOf.get(id) ?? []) this.#byHash.delete(hash);
    this.#hashesOf.delete(id);
    this.#userOf.delete(id);
  }

  #dropAll(): void {
    this.#epoch += 1;
    this.#clear();
  }

  #clear(): void {
    for (const map of [this.#byHash, this.#byId, this.#byUser, this.#hashesOf, this.#userOf, this.#keysOf])
      map.clear();
  }
}

function add(map: Map<string, Set<string>>, key: string, value: string): void {
  const known = map.get(key);
  if (known) known.add(value);
  else map.set(key, new Set([value]));
}
