import { sql } from "kysely";
import type { KeyedHash, World } from "../base/index.ts";
import { type Database, deleteInBatches, type Tx } from "../db/index.ts";

/** Kept a little longer than they count: an issuer's clock may be behind ours. */
const MARGIN_MS = 5 * 60_000;

/** Assertions that were accepted once and must not be again (RFC 7523 §3 point 7, SAML Core §2.5.1.5). */
export class SpentAssertions {
  readonly #database: Database;
  readonly #world: World;
  readonly #hash: KeyedHash;

  constructor(parts: { database: Database; world: World; hash: KeyedHash }) {
    this.#database = parts.database;
    this.#world = parts.world;
    this.#hash = parts.hash;
  }

  /**
   * Whether this is the first time, on any replica; false: it was accepted before. `expiresAt`: when the assertion itself stops
   * counting, milliseconds since 1970. What the transaction does not commit is not spent.
   */
  async spend(tx: Tx, issuer: string, id: string, expiresAt: number): Promise<boolean> {
    const row = await tx
      .insertInto("spent_assertions")
      .values({
        hash: this.#hash.of("assertion", JSON.stringify([issuer, id])),
        expires_at: expiresAt,
      })
      .onConflict((conflict) => conflict.column("hash").doNothing())
      .returning("hash")
      .executeTakeFirst();
    return row !== undefined;
  }

  async sweep(): Promise<void> {
    const ended = this.#world.now().getTime() - MARGIN_MS;
    const where = sql<boolean>`expires_at < ${ended}`;
    await deleteInBatches(this.#database, { table: "spent_assertions", key: "hash", where });
  }
}
