import type { Kysely } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
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
  };
}

const columns: Record<"sqlite" | "postgres", initial.Columns> = {
  sqlite: { time: "integer", blob: "blob" },
  postgres: { time: "bigint", blob: "bytea" },
};

/** Brings the schema up to date. Several replicas may call it at once: the migrator takes a lock. */
export async function migrate(db: Kysely<Tables>, kind: "sqlite" | "postgres"): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations(columns[kind]) } });
  const { error } = await migrator.migrateToLatest();
  if (error) throw error;
}
