import type { Kysely } from "kysely";
import type { Columns } from "./0001-initial.ts";

/** What a person may use by name, management API tokens, and the settings that change while the gateway runs. */
export async function up({ schema }: Kysely<unknown>, c: Columns): Promise<void> {
  await schema
    .createTable("user_upstreams")
    .addColumn("user_id", "text", (col) => col.notNull().references("users.id").onDelete("cascade"))
    .addColumn("upstream_id", "text", (col) => col.notNull().references("upstreams.id").onDelete("cascade"))
    .addColumn("tools_json", "text", (col) => col.notNull())
    .addPrimaryKeyConstraint("user_upstreams_key", ["user_id", "upstream_id"])
    .execute();
  await schema.createIndex("user_upstreams_by_upstream").on("user_upstreams").column("upstream_id").execute();
  await schema
    .createTable("api_tokens")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("name", "text", (col) => col.notNull())
    .addColumn("token_hash", "text", (col) => col.notNull().unique())
    .addColumn("token_tail", "text", (col) => col.notNull())
    .addColumn("user_id", "text", (col) => col.references("users.id").onDelete("cascade"))
    .addColumn("role", "text", (col) => col.notNull())
    .addColumn("scopes_json", "text", (col) => col.notNull())
    .addColumn("expires_at", c.time)
    .addColumn("last_used_at", c.time)
    .addColumn("created_at", c.time, (col) => col.notNull())
    .execute();
  await schema.createIndex("api_tokens_by_user").on("api_tokens").column("user_id").execute();
  await schema
    .createTable("settings")
    .addColumn("name", "text", (col) => col.primaryKey())
    .addColumn("value_json", "text", (col) => col.notNull())
    .addColumn("updated_at", c.time, (col) => col.notNull())
    .execute();
  await schema.createIndex("users_by_time").on("users").columns(["created_at", "id"]).execute();
}
