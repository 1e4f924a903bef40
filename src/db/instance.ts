import { KeyedHash, type Seal, SealFault, type World } from "../base/index.ts";
import type { Database } from "./open.ts";

const HASH_KEY_BYTES = 32;
const NAME = "hash_key";

/** The configured encryption key does not fit this database; the message is for the operator. */
export class WrongKey extends Error {
  override name = "WrongKey";
}

/**
 * The key of all keyed hashes: random, made at the first start, sealed in the database. Opening it also proves that the
 * configured encryption key is the one this database was sealed with (attack rule R28).
 */
export async function openKeyedHash(database: Database, seal: Seal, world: World): Promise<KeyedHash> {
  const fresh = seal.seal(world.random(HASH_KEY_BYTES), ["instance", NAME]);
  await database.db
    .insertInto("instance")
    .values({ name: NAME, sealed: fresh })
    .onConflict((conflict) => conflict.column("name").doNothing())
    .execute();
  const { sealed } = await database.db
    .selectFrom("instance")
    .select("sealed")
    .where("name", "=", NAME)
    .executeTakeFirstOrThrow();
  try {
    return new KeyedHash(seal.open(sealed, ["instance", NAME]));
  } catch (error) {
    if (!(error instanceof SealFault)) throw error;
    throw new WrongKey(
      `The encryption key (id ${seal.keyId}) does not open this database. Start with the key it was made with: ` +
        "POSTERN_ENCRYPTION_KEY, or the key file beside the SQLite file.",
    );
  }
}
