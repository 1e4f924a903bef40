import { type Database, EVERYTHING } from "../db/index.ts";

const MOST_ENTRIES = 20_000;
const none: ReadonlySet<string> = new Set();

/** Who is in which group, in memory once asked: calls do not read the database. */
export class Memberships {
  readonly #database: Database;
  readonly #known = new Map<string, ReadonlySet<string>>();
  #epoch = 0;

  constructor(database: Database) {
    this.#database = database;
    database.changes.listen(({ topic, key }) => {
      if (topic !== "access" && topic !== EVERYTHING) return;
      this.#epoch += 1;
      if (topic === "access") this.#known.delete(key);
      else this.#known.clear();
    });
  }

  /** The ids of the person's groups. */
  async of(userId: string): Promise<ReadonlySet<string>> {
    const known = this.#known.get(userId);
    if (known) return known;
    const epoch = this.#epoch;
    const rows = await this.#database.db
      .selectFrom("group_members")
      .select("group_id")
      .where("user_id", "=", userId)
      .execute();
    const ids = rows.length === 0 ? none : new Set(rows.map(({ group_id }) => group_id));
    // A change that came while reading may already be newer than what was read.
    if (epoch === this.#epoch) {
      if (this.#known.size >= MOST_ENTRIES) this.#known.clear();
      this.#known.set(userId, ids);
    }
    return ids;
  }
}
