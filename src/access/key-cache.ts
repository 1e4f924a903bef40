import { type Database, EVERYTHING } from "../db/index.ts";
import { readKeys, readPresentedKey } from "./key-rows.ts";
import type { PresentedKey, VirtualKey } from "./virtual-key.ts";

const MOST_ENTRIES = 20_000;

/**
 * Keys in memory, so that a call does not read the database. Misses are not kept: guesses would fill it. Any change of a
 * key drops what is known of all of them; changes are rare, and a user's list depends on every key.
 */
export class KeyCache {
  readonly #database: Database;
  readonly #byHash = new Map<string, PresentedKey>();
  readonly #byId = new Map<string, VirtualKey>();
  readonly #byUser = new Map<string, readonly VirtualKey[]>();
  #epoch = 0;

  constructor(database: Database) {
    this.#database = database;
    database.changes.listen(({ topic }) => {
      // Deleting an upstream removes its rows from keys.
      if (topic === "virtual_key" || topic === "upstream" || topic === "user" || topic === EVERYTHING)
        this.#drop();
    });
  }

  byHash(hash: string): Promise<PresentedKey | undefined> {
    return this.#through(this.#byHash, hash, () => readPresentedKey(this.#database.db, hash));
  }

  byId(id: string): Promise<VirtualKey | undefined> {
    return this.#through(this.#byId, id, async () => (await this.#read({ ids: [id] }))[0]);
  }

  async byUser(userId: string): Promise<readonly VirtualKey[]> {
    return (await this.#through(this.#byUser, userId, () => this.#read({ userId }))) ?? [];
  }

  #read(filter: Parameters<typeof readKeys>[1]): Promise<VirtualKey[]> {
    return readKeys(this.#database.db, filter);
  }

  async #through<V>(
    map: Map<string, V>,
    key: string,
    read: () => Promise<V | undefined>,
  ): Promise<V | undefined> {
    const known = map.get(key);
    if (known !== undefined) return known;
    const epoch = this.#epoch;
    const value = await read();
    // A change that came while reading may already be newer than what was read.
    if (value !== undefined && epoch === this.#epoch) {
      if (map.size >= MOST_ENTRIES) map.clear();
      map.set(key, value);
    }
    return value;
  }

  #drop(): void {
    this.#epoch += 1;
    this.#byHash.clear();
    this.#byId.clear();
    this.#byUser.clear();
  }
}
