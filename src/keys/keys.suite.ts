import { randomBytes } from "node:crypto";
import type { OpenDatabase } from "../../test/support/databases.ts";
import { type TestWorld, testWorld } from "../../test/support/world.ts";
import { type DataKey, Seal } from "../base/index.ts";
import type { Database, SealedColumn } from "../db/index.ts";
import { openKeyedHash } from "../db/index.ts";
import { DataKeys } from "./data-keys.ts";
import { LocalKeys } from "./local.ts";
import type { KeyProvider } from "./provider.ts";
import { type RotateOptions, rotateKeys } from "./rotate.ts";

export const newKey = (): Uint8Array => randomBytes(32);

const headers: SealedColumn = {
  table: "outbox",
  column: "sealed",
  key: "id",
  reads: ["kind"],
  context: ({ id, kind }) => ["outbox", id!, kind!],
};
const instance: SealedColumn = {
  table: "instance",
  column: "sealed",
  key: "name",
  reads: [],
  context: ({ name }) => ["instance", name!],
};

/** One process on a database: its keys, and what they seal. */
export class Replica {
  readonly database: Database;
  readonly seal: Seal;
  readonly keys: DataKeys;
  readonly providers: readonly KeyProvider[];
  readonly direct: readonly Uint8Array[];
  readonly world: TestWorld;
  readonly columns = [headers, instance];

  constructor(
    database: Database,
    given: { direct?: readonly Uint8Array[]; providers?: readonly KeyProvider[] },
  ) {
    this.world = testWorld();
    this.database = database;
    this.direct = given.direct ?? [];
    this.seal = new Seal(this.direct, randomBytes);
    this.providers = given.providers ?? [new LocalKeys(this.direct, randomBytes)];
    this.keys = new DataKeys({ ...this, world: this.world });
  }

  /** As a gateway starts. */
  static async start(database: Database, given: ConstructorParameters<typeof Replica>[1]): Promise<Replica> {
    const replica = new Replica(database, given);
    await replica.keys.check(database.db, database.kind);
    await replica.keys.open(database);
    await openKeyedHash(database, replica.seal, replica.world);
    return replica;
  }

  /** As an older version left it: sealed with the configured key itself, without a data key. */
  static async older(database: Database, direct: readonly Uint8Array[]): Promise<Replica> {
    const replica = new Replica(database, { direct });
    await openKeyedHash(database, replica.seal, replica.world);
    return replica;
  }

  async write(id: string, text: string): Promise<void> {
    const sealed = this.seal.seal(text, ["outbox", id, "test"]);
    const row = { id, kind: "test", subject: "s", sealed, attempts: 0, next_at: 0, created_at: 0 };
    await this.database.db
      .insertInto("outbox")
      .values(row)
      .onConflict((conflict) => conflict.column("id").doUpdateSet({ sealed }))
      .execute();
  }

  async read(id: string): Promise<string> {
    return this.seal.openText(await this.ciphertext(id), ["outbox", id, "test"]);
  }

  async ciphertext(id: string): Promise<Uint8Array> {
    const query = this.database.db.selectFrom("outbox").select("sealed").where("id", "=", id);
    return (await query.executeTakeFirstOrThrow()).sealed;
  }

  rotate(options: Partial<RotateOptions> = {}, reach?: (point: string) => void) {
    const world = reach ? { ...this.world, reach } : this.world;
    return rotateKeys({ ...this, world, settleMs: 0 }, { newDataKey: false, ...options });
  }
}

export type { DataKey, OpenDatabase };
