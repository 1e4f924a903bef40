import type { KeyedHash, World } from "../base/index.ts";
import type { Database, Tx } from "../db/index.ts";

/** Longer than tokens live; what is older was made before anybody remembers. */
const REMEMBERED_MS = 400 * 24 * 60 * 60_000;

/**
 * Whose account was deleted, and when: a token that an issuer made before is no reason to make the account again. Stands beside
 * the spent assertions, and is swept with them.
 */
export class Departed {
  readonly #parts: { database: Database; world: World; hash: KeyedHash };

  constructor(parts: { database: Database; world: World; hash: KeyedHash }) {
    this.#parts = parts;
  }

  /** To be called in the transaction that deletes the account, while its identities are there. */
  async note(tx: Tx, userId: string): Promise<void> {
    const identities = await tx
      .selectFrom("user_identities")
      .select(["issuer", "subject"])
      .where("user_id", "=", userId)
      .execute();
    const expires_at = this.#parts.world.now().getTime() + REMEMBERED_MS;
    for (const { issuer, subject } of identities)
      await tx
        .insertInto("spent_assertions")
        .values({ hash: this.#hashOf(issuer, subject), expires_at })
        .onConflict((conflict) => conflict.column("hash").doUpdateSet({ expires_at }))
        .execute();
  }

  /** Whether the account of this subject was deleted at or after `issuedAt` (milliseconds since 1970; undefined: not told). */
  async since(tx: Tx, issuer: string, subject: string, issuedAt: number | undefined): Promise<boolean> {
    const row = await tx
      .selectFrom("spent_assertions")
      .select("expires_at")
      .where("hash", "=", this.#hashOf(issuer, subject))
      .executeTakeFirst();
    return row !== undefined && (issuedAt ?? 0) <= row.expires_at - REMEMBERED_MS;
  }

  #hashOf(issuer: string, subject: string): string {
    return this.#parts.hash.of("departed", JSON.stringify([issuer, subject]));
  }
}
