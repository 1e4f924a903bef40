import { type Kysely, type RawBuilder, sql } from "kysely";
import type { Tables } from "./tables.ts";

/**
 * Who may do what only one replica should do at a time: a row by name, taken by one statement, by the database's own clock,
 * so that no replica's clock takes another's lease early (AV-11). A dead holder's lease ends by itself.
 */
export class Leases {
  readonly #db: Kysely<Tables>;
  readonly #now: RawBuilder<number>;
  /** This process, unlike any other. */
  readonly holder: string;

  constructor(db: Kysely<Tables>, kind: "sqlite" | "postgres", holder: string) {
    this.#db = db;
    this.holder = holder;
    this.#now =
      kind === "postgres"
        ? sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`
        : sql<number>`cast(unixepoch('subsec') * 1000 as integer)`;
  }

  /** Takes or keeps a lease for `ms` from now. False: another has it. */
  async take(name: string, ms: number): Promise<boolean> {
    const until = sql<number>`${this.#now} + ${sql.lit(Math.round(ms))}`;
    const taken = await this.#db
      .insertInto("leases")
      .values({ name, holder: this.holder, until })
      .onConflict((conflict) =>
        conflict
          .column("name")
          .doUpdateSet({ holder: this.holder, until })
          .where((or) => or.or([or("leases.holder", "=", this.holder), or("leases.until", "<=", this.#now)])),
      )
      .returning("name")
      .executeTakeFirst();
    return taken !== undefined;
  }

  /** Gives it back before its time; no effect on another's. */
  async release(name: string): Promise<void> {
    await this.#db.deleteFrom("leases").where("name", "=", name).where("holder", "=", this.holder).execute();
  }
}
