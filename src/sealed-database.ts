import { Seal, type World } from "./base/index.ts";
import type { Config } from "./config.ts";
import { BadConfiguration } from "./config-problem.ts";
import { type Database, databaseSealedColumns, openDatabase, type SealedColumn } from "./db/index.ts";
import { identitySealedColumns } from "./identity/index.ts";
import { issuerSealedColumns } from "./issuer/index.ts";
import { awsKms, DataKeys, isPosterns, type KeyProvider, LocalKeys, vaultTransit } from "./keys/index.ts";
import { mcpSealedColumns } from "./mcp/index.ts";
import { upstreamSealedColumns } from "./upstreams/index.ts";
import { vaultSealedColumns } from "./vault/index.ts";

/** Every column of sealed values. `instance` comes last: its value tells at the start whether the keys fit. */
export const sealedColumns: readonly SealedColumn[] = [
  ...vaultSealedColumns,
  ...upstreamSealedColumns,
  ...issuerSealedColumns,
  ...mcpSealedColumns,
  ...identitySealedColumns,
  ...databaseSealedColumns,
];

/** A database and the keys that open what is sealed in it. */
export interface SealedDatabase {
  database: Database;
  seal: Seal;
  keys: DataKeys;
  /** The first wraps, all unwrap. */
  providers: readonly KeyProvider[];
  close(): Promise<void>;
}

/**
 * Opens both. Whether the keys fit is known before anything is written, also by a migration (ST-05). Rejects with
 * `WrongKey`, `KeyProviderDown`, or what the driver throws. `existing`: an empty database is refused.
 */
export async function openSealedDatabase(
  config: Config,
  world: World,
  { existing = false }: { existing?: boolean } = {},
): Promise<SealedDatabase> {
  const seal = new Seal(config.encryptionKeys, world.random);
  const providers = keyProviders(config, world);
  const closeProviders = () => Promise.all(providers.map((provider) => provider.close()));
  const keys = new DataKeys({
    world,
    seal,
    providers,
    direct: config.encryptionKeys,
    columns: sealedColumns,
  });
  let database: Database | undefined;
  try {
    database = await openDatabase(config.databaseUrl.reveal(), world.log, {
      reach: world.reach,
      check: async (db, kind) => {
        if (existing && !(await isPosterns(db, kind)))
          throw new BadConfiguration("There is nothing in this database yet. Check POSTERN_DATABASE_URL.");
        await keys.check(db, kind);
      },
      poolSize: config.databasePool,
    });
    await keys.open(database);
  } catch (error) {
    await database?.close();
    await closeProviders();
    throw error;
  }
  const { close } = database;
  return {
    database,
    seal,
    keys,
    providers,
    close: async () => {
      await close();
      await closeProviders();
    },
  };
}

/** In the order of `key_providers`. */
export function keyProviders(config: Config, world: World): KeyProvider[] {
  return config.keyProviders.map((entry) => {
    if (entry.type === "vault_transit") return vaultTransit(entry);
    if (entry.type === "aws_kms") return awsKms(entry);
    return new LocalKeys(config.encryptionKeys, world.random);
  });
}
