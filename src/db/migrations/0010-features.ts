import type { Kysely } from "kysely";

/** What an upstream offers beside tools, as last read: capabilities, resources, resource templates and prompts. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable("upstreams").addColumn("features_json", "text").execute();
}
