import { type Kysely, type KyselyPlugin, sql } from "kysely";
import { DEFAULT_MIGRATION_TABLE, type Migration, Migrator } from "kysely/migration";
import type { World } from "../base/index.ts";
import * as initial from "./migrations/0001-initial.ts";
import * as clientKeys from "./migrations/0002-client-keys.ts";
import * as virtualMcps from "./migrations/0003-virtual-mcps.ts";
import * as accounts from "./migrations/0004-accounts.ts";
import * as people from "./migrations/0006-people.ts";
import * as upstreamTls from "./migrations/0007-upstream-tls.ts";
import * as features from "./migrations/0010-features.ts";
import * as clientSessions from "./migrations/0011-client-sessions.ts";
import * as plainNames from "./migrations/0013-plain-names.ts";
import * as resourceSubscriptions from "./migrations/0014-resource-subscriptions.ts";
import * as finishedTasks from "./migrations/0016-finished-tasks.ts";
import * as toolVersions from "./migrations/0017-tool-versions.ts";
import * as largeCatalogs from "./migrations/0018-large-catalogs.ts";
import * as wantedScopes from "./migrations/0019-wanted-scopes.ts";
import * as assertions from "./migrations/0020-assertions.ts";
import * as refresh from "./migrations/0021-refresh.ts";
import * as leases from "./migrations/0022-leases.ts";
import * as dataKeys from "./migrations/0024-data-keys.ts";
import * as restores from "./migrations/0025-restores.ts";
import * as identities from "./migrations/0026-identities.ts";
import type { Tables } from "./tables.ts";

/** Append-only and forward-only: a landed migration is never edited. */
function migrations(columns: initial.Columns): Record<string, Migration> {
  return {
    "0001-initial": { up: (db) => initial.up(db, columns) },
    "0002-client-keys": { up: (db) => clientKeys.up(db, columns) },
    "0003-virtual-mcps": { up: (db) => virtualMcps.up(db, columns) },
    "0004-accounts": { up: accounts.up },
    "0006-people": { up: (db) => people.up(db, columns) },
    "0007-upstream-tls": { up: (db) => upstreamTls.up(db, columns) },
    "0010-features": { up: features.up },
    "0011-client-sessions": { up: (db) => clientSessions.up(db, columns) },
    "0013-plain-names": { up: plainNames.up },
    "0014-resource-subscriptions": { up: (db) => resourceSubscriptions.up(db, columns) },
    "0016-finished-tasks": { up: (db) => finishedTasks.up(db, columns) },
    "0017-tool-versions": { up: (db) => toolVersions.up(db, columns) },
    "0018-large-catalogs": { up: largeCatalogs.up },
    "0019-wanted-scopes": { up: (db) => wantedScopes.up(db, columns) },
    "0020-assertions": { up: (db) => assertions.up(db, columns) },
    "0021-refresh": { up: (db) => refresh.up(db, columns) },
    "0022-leases": { up: (db) => leases.up(db, columns) },
    "0025-restores": { up: (db) => restores.up(db, columns) },
    "0024-data-keys": { up: (db) => dataKeys.up(db, columns) },
    "0026-identities": { up: (db) => identities.up(db, columns) },
  };
}

const columns: Record<"sqlite" | "postgres", initial.Columns> = {
  sqlite: { time: "integer", blob: "blob" },
  postgres: { time: "bigint", blob: "bytea" },
};

/** Every migration there is, oldest first. */
export const migrationNames: readonly string[] = Object.keys(migrations(columns.sqlite)).toSorted();

/** A newer version migrated this database; the message is for the operator. */
export class NewerSchema extends Error {
  override name = "NewerSchema";
}

/**
 * Throws where the database has been migrated further than this version knows: what that added, this one would neither read
 * nor keep up. A process that runs already goes on beside a newer one.
 */
export async function refuseNewerSchema(db: Kysely<Tables>): Promise<void> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
  if (!tables.some(({ name }) => name === DEFAULT_MIGRATION_TABLE)) return;
  const { rows } = await sql<{ name: string }>`
    select name from ${sql.table(DEFAULT_MIGRATION_TABLE)} order by name
  `.execute(db);
  const unknown = rows.filter(({ name }) => !migrationNames.includes(name));
  if (unknown.length === 0) return;
  throw new NewerSchema(
    `This database was migrated by a newer version of Postern (it has ${unknown.at(-1)!.name}, which this version does ` +
      "not know). Start that version, or restore the backup that was made before the upgrade.",
  );
}

/**
 * Brings the schema up to date, in one transaction: it is the old one or the new one, never something between. Several
 * replicas may call it at once: the migrator takes a lock. `last`: stops after this one, for a restore.
 */
export async function migrate(
  db: Kysely<Tables>,
  kind: "sqlite" | "postgres",
  reach: World["reach"],
  last?: string,
): Promise<void> {
  const getMigrations = async () => withFaultPoints(migrations(columns[kind]), reach);
  const migrator = new Migrator({ db, provider: { getMigrations } });
  const { error } = await (last === undefined ? migrator.migrateToLatest() : migrator.migrateTo(last));
  if (error) throw error;
  reach("migrate.3.committed");
}

function withFaultPoints(given: Record<string, Migration>, reach: World["reach"]): Record<string, Migration> {
  const eachStatement: KyselyPlugin = {
    transformQuery: ({ node }) => {
      reach("migrate.1.statement");
      return node;
    },
    transformResult: async ({ result }) => result,
  };
  const up = (migration: Migration) => async (db: Kysely<unknown>) => {
    await migration.up(db.withPlugin(eachStatement));
    reach("migrate.2.applied");
  };
  return Object.fromEntries(Object.entries(given).map(([name, one]) => [name, { up: up(one) }]));
}
