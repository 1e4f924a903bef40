import type { Kysely } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
import * as initial from "./migrations/0001-initial.ts";
import type { Tables } from "./tables.ts";

/** Append-only and forward-only: a landed migration is never edited. */
function migrations(columns: initial.Columns): Record<string, Migration> {
  return {
    "0001-initial": { up: (db) => initial.up(db, columns) },
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
