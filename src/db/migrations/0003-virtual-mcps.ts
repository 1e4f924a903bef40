import { type Kysely, sql } from "kysely";
import type { Columns } from "./0001-initial.ts";

type Schema = Kysely<unknown>["schema"];

/** Virtual MCPs, the value a rotated key had before, and when anonymous sessions were last used. */
export async function up(db: Kysely<unknown>, c: Columns): Promise<void> {
  await previousValues(db.schema, c);
  await virtualMcps(db, c);
  await attachments(db.schema);
  await db.schema
    .createTable("anonymous_sessions")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("last_used_at", c.time, (col) => col.notNull())
    .execute();
}

async function previousValues(schema: Schema, c: Columns): Promise<void> {
  await schema.alterTable("virtual_keys").addColumn("previous_value_hash", "text").execute();
  await schema.alterTable("virtual_keys").addColumn("previous_value_expires_at", c.time).execute();
  await schema
    .alterTable("virtual_keys")
    .addColumn("value_from_file", "integer", (col) => col.notNull().defaultTo(0))
    .execute();
  await schema
    .createIndex("virtual_keys_by_previous_value")
    .unique()
    .on("virtual_keys")
    .column("previous_value_hash")
    .execute();
}

async function virtualMcps(db: Kysely<unknown>, c: Columns): Promise<void> {
  await db.schema
    .createTable("virtual_mcps")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("slug", "text", (col) => col.notNull())
    .addColumn("name", "text", (col) => col.notNull().unique())
    .addColumn("source", "text", (col) => col.notNull())
    .addColumn("description", "text", (col) => col.notNull())
    .addColumn("disabled", "integer", (col) => col.notNull())
    .addColumn("created_at", c.time, (col) => col.notNull())
    .addColumn("updated_at", c.time, (col) => col.notNull())
    .execute();
  // Two addresses that differ in case alone are told apart by nobody.
  await sql`create unique index virtual_mcps_by_slug on virtual_mcps (lower(slug))`.execute(db);
  await db.schema
    .createTable("virtual_mcp_upstreams")
    .addColumn("virtual_mcp_id", "text", (col) =>
      col.notNull().references("virtual_mcps.id").onDelete("cascade"),
    )
    .addColumn("upstream_id", "text", (col) => col.notNull().references("upstreams.id").onDelete("cascade"))
    .addColumn("tools_json", "text", (col) => col.notNull())
    .addColumn("account", "text")
    .addPrimaryKeyConstraint("virtual_mcp_upstreams_key", ["virtual_mcp_id", "upstream_id"])
    .execute();
}

async function attachments(schema: Schema): Promise<void> {
  for (const [table, column, target] of [
    ["virtual_mcp_keys", "virtual_key_id", "virtual_keys.id"],
    ["virtual_mcp_users", "user_id", "users.id"],
  ] as const) {
    await schema
      .createTable(table)
      .addColumn("virtual_mcp_id", "text", (col) =>
        col.notNull().references("virtual_mcps.id").onDelete("cascade"),
      )
      .addColumn(column, "text", (col) => col.notNull().references(target).onDelete("cascade"))
      .addPrimaryKeyConstraint(`${table}_key`, ["virtual_mcp_id", column])
      .execute();
    await schema.createIndex(`${table}_by_${column}`).on(table).column(column).execute();
  }
  // A foreign key on Postgres brings no index for the side that is deleted.
  await schema
    .createIndex("virtual_mcp_upstreams_by_upstream")
    .on("virtual_mcp_upstreams")
    .column("upstream_id")
    .execute();
}
