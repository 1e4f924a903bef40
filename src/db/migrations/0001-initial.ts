import { type Kysely, sql } from "kysely";

type Schema = Kysely<unknown>["schema"];

/** The column types that differ between the two databases. */
export interface Columns {
  time: "bigint" | "integer";
  blob: "bytea" | "blob";
}

export async function up(db: Kysely<unknown>, c: Columns): Promise<void> {
  await process(db, c);
  await people(db.schema, c);
  await upstreams(db.schema, c);
  await virtualKeys(db.schema, c);
  await flows(db.schema, c);
  await credentials(db.schema, c);
  await grants(db.schema, c);
}

async function process(db: Kysely<unknown>, c: Columns): Promise<void> {
  const { schema } = db;
  await schema
    .createTable("instance")
    .addColumn("name", "text", (col) => col.primaryKey())
    .addColumn("sealed", c.blob, (col) => col.notNull())
    .execute();
  await schema
    .createTable("change_counter")
    .addColumn("id", "integer", (col) => col.primaryKey())
    .addColumn("value", c.time, (col) => col.notNull())
    .execute();
  await sql`insert into change_counter (id, value) values (1, 0)`.execute(db);
  await schema
    .createTable("changes")
    .addColumn("seq", c.time, (col) => col.primaryKey())
    .addColumn("topic", "text", (col) => col.notNull())
    .addColumn("key", "text", (col) => col.notNull())
    .addColumn("at", c.time, (col) => col.notNull())
    .execute();
  await schema
    .createTable("outbox")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("kind", "text", (col) => col.notNull())
    .addColumn("subject", "text", (col) => col.notNull())
    .addColumn("sealed", c.blob, (col) => col.notNull())
    .addColumn("attempts", "integer", (col) => col.notNull())
    .addColumn("next_at", c.time, (col) => col.notNull())
    .addColumn("created_at", c.time, (col) => col.notNull())
    .execute();
  await schema.createIndex("outbox_due").on("outbox").column("next_at").execute();
  await schema
    .createTable("audit")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("at", c.time, (col) => col.notNull())
    .addColumn("event", "text", (col) => col.notNull())
    .addColumn("actor", "text", (col) => col.notNull())
    .addColumn("owner_mode", "text")
    .addColumn("owner_id", "text")
    .addColumn("upstream_id", "text")
    .addColumn("request_id", "text")
    .addColumn("detail_json", "text", (col) => col.notNull())
    .execute();
}

async function people(schema: Schema, c: Columns): Promise<void> {
  await schema
    .createTable("users")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("email", "text", (col) => col.notNull().unique())
    .addColumn("name", "text", (col) => col.notNull())
    .addColumn("password_hash", "text")
    .addColumn("role", "text", (col) => col.notNull())
    .addColumn("is_active", "integer", (col) => col.notNull())
    .addColumn("created_at", c.time, (col) => col.notNull())
    .addColumn("updated_at", c.time, (col) => col.notNull())
    .execute();
  await schema
    .createTable("dashboard_sessions")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("token_hash", "text", (col) => col.notNull().unique())
    .addColumn("user_id", "text", (col) => col.notNull().references("users.id").onDelete("cascade"))
    .addColumn("created_at", c.time, (col) => col.notNull())
    .addColumn("last_seen_at", c.time, (col) => col.notNull())
    .addColumn("expires_at", c.time, (col) => col.notNull())
    .execute();
  await schema.createIndex("dashboard_sessions_by_user").on("dashboard_sessions").column("user_id").execute();
}

async function upstreams(schema: Schema, c: Columns): Promise<void> {
  await schema
    .createTable("upstreams")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("name", "text", (col) => col.notNull().unique())
    .addColumn("source", "text", (col) => col.notNull())
    .addColumn("connection_type", "text", (col) => col.notNull())
    .addColumn("connection_string", "text")
    .addColumn("auth_type", "text", (col) => col.notNull())
    .addColumn("definition_json", "text", (col) => col.notNull())
    .addColumn("sealed_headers", c.blob)
    .addColumn("allow_on_all_virtual_keys", "integer", (col) => col.notNull())
    .addColumn("disabled", "integer", (col) => col.notNull())
    .addColumn("state", "text", (col) => col.notNull())
    .addColumn("failure_json", "text")
    .addColumn("generation", "integer", (col) => col.notNull())
    .addColumn("era", "text")
    .addColumn("tools_json", "text")
    .addColumn("tools_synced_at", c.time)
    .addColumn("created_at", c.time, (col) => col.notNull())
    .addColumn("updated_at", c.time, (col) => col.notNull())
    .execute();
  await schema
    .createTable("oauth_configs")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("upstream_id", "text", (col) =>
      col.notNull().unique().references("upstreams.id").onDelete("cascade"),
    )
    .addColumn("issuer", "text")
    .addColumn("redirect_uri", "text", (col) => col.notNull())
    .addColumn("resource", "text")
    .addColumn("client_id", "text")
    .addColumn("client_source", "text")
    .addColumn("sealed_client_secret", c.blob)
    .addColumn("metadata_json", "text")
    .addColumn("scopes_json", "text", (col) => col.notNull())
    .addColumn("created_at", c.time, (col) => col.notNull())
    .addColumn("updated_at", c.time, (col) => col.notNull())
    .execute();
}

async function virtualKeys(schema: Schema, c: Columns): Promise<void> {
  await schema
    .createTable("virtual_keys")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("name", "text", (col) => col.notNull().unique())
    .addColumn("source", "text", (col) => col.notNull())
    .addColumn("description", "text", (col) => col.notNull())
    .addColumn("value_hash", "text", (col) => col.notNull().unique())
    .addColumn("value_tail", "text", (col) => col.notNull())
    .addColumn("is_active", "integer", (col) => col.notNull())
    .addColumn("expires_at", c.time)
    .addColumn("user_id", "text", (col) => col.references("users.id"))
    .addColumn("created_at", c.time, (col) => col.notNull())
    .addColumn("updated_at", c.time, (col) => col.notNull())
    .execute();
  await schema
    .createTable("virtual_key_upstreams")
    .addColumn("virtual_key_id", "text", (col) =>
      col.notNull().references("virtual_keys.id").onDelete("cascade"),
    )
    .addColumn("upstream_id", "text", (col) => col.notNull().references("upstreams.id").onDelete("cascade"))
    .addColumn("tools_json", "text", (col) => col.notNull())
    .addPrimaryKeyConstraint("virtual_key_upstreams_key", ["virtual_key_id", "upstream_id"])
    .execute();
  await schema
    .createIndex("virtual_key_upstreams_by_upstream")
    .on("virtual_key_upstreams")
    .column("upstream_id")
    .execute();
}

async function flows(schema: Schema, c: Columns): Promise<void> {
  await schema
    .createTable("flows")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("kind", "text", (col) => col.notNull())
    .addColumn("handle_hash", "text", (col) => col.unique())
    .addColumn("browser_hash", "text")
    .addColumn("owner_mode", "text")
    .addColumn("owner_id", "text")
    .addColumn("upstream_id", "text")
    .addColumn("account", "text", (col) => col.notNull().defaultTo(""))
    .addColumn("parent_id", "text")
    .addColumn("data_json", "text", (col) => col.notNull())
    .addColumn("sealed", c.blob)
    .addColumn("created_at", c.time, (col) => col.notNull())
    .addColumn("expires_at", c.time, (col) => col.notNull())
    .addColumn("ended_at", c.time)
    .addColumn("outcome", "text")
    .execute();
  await schema.createIndex("flows_by_expiry").on("flows").column("expires_at").execute();
  await schema.createIndex("flows_by_parent").on("flows").column("parent_id").execute();
  await schema.createIndex("flows_by_upstream").on("flows").column("upstream_id").execute();
  // One pending connect flow per binding, in the database and not in a check before it.
  await schema
    .createIndex("flows_one_pending_connect")
    .unique()
    .on("flows")
    .columns(["owner_mode", "owner_id", "upstream_id", "account"])
    .where(sql<boolean>`kind = 'connect' and ended_at is null`)
    .execute();
}

async function credentials(schema: Schema, c: Columns): Promise<void> {
  await schema
    .createTable("credentials")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("kind", "text", (col) => col.notNull())
    .addColumn("owner_mode", "text", (col) => col.notNull())
    .addColumn("owner_id", "text", (col) => col.notNull())
    .addColumn("upstream_id", "text", (col) => col.notNull().references("upstreams.id"))
    .addColumn("account", "text", (col) => col.notNull())
    .addColumn("status", "text", (col) => col.notNull())
    .addColumn("status_reason", "text")
    .addColumn("orphaned", "integer", (col) => col.notNull())
    .addColumn("generation", "integer", (col) => col.notNull())
    .addColumn("sealed", c.blob, (col) => col.notNull())
    .addColumn("subject", "text")
    .addColumn("expires_at", c.time)
    .addColumn("scopes_json", "text")
    .addColumn("oauth_config_id", "text")
    .addColumn("refresh_holder", "text")
    .addColumn("refresh_until", c.time)
    .addColumn("refresh_after", c.time)
    .addColumn("last_refreshed_at", c.time)
    .addColumn("created_at", c.time, (col) => col.notNull())
    .addColumn("updated_at", c.time, (col) => col.notNull())
    .addUniqueConstraint("credentials_one_per_binding", ["owner_mode", "owner_id", "upstream_id", "account"])
    .execute();
  await schema.createIndex("credentials_by_time").on("credentials").columns(["created_at", "id"]).execute();
  await schema.createIndex("credentials_by_upstream").on("credentials").column("upstream_id").execute();
}

async function grants(schema: Schema, c: Columns): Promise<void> {
  await schema
    .createTable("clients")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("kind", "text", (col) => col.notNull())
    .addColumn("client_id_hash", "text", (col) => col.notNull().unique())
    .addColumn("name", "text", (col) => col.notNull())
    .addColumn("redirect_uris_json", "text", (col) => col.notNull())
    .addColumn("secret_hash", "text")
    .addColumn("created_at", c.time, (col) => col.notNull())
    .execute();
  await schema
    .createTable("grants")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("client_row_id", "text", (col) => col.notNull().references("clients.id"))
    .addColumn("client_name", "text", (col) => col.notNull())
    .addColumn("owner_mode", "text", (col) => col.notNull())
    .addColumn("owner_id", "text", (col) => col.notNull())
    .addColumn("virtual_key_id", "text")
    .addColumn("browser_hash", "text")
    .addColumn("redirect_uri", "text", (col) => col.notNull())
    .addColumn("scope", "text", (col) => col.notNull())
    .addColumn("resource", "text", (col) => col.notNull())
    .addColumn("upstreams_json", "text")
    .addColumn("status", "text", (col) => col.notNull())
    .addColumn("created_at", c.time, (col) => col.notNull())
    .addColumn("last_used_at", c.time)
    .addColumn("idle_until", c.time, (col) => col.notNull())
    .addColumn("ends_at", c.time, (col) => col.notNull())
    .execute();
  await schema.createIndex("grants_by_owner").on("grants").columns(["owner_mode", "owner_id"]).execute();
  await schema.createIndex("grants_by_key").on("grants").column("virtual_key_id").execute();
  await schema.createIndex("grants_by_time").on("grants").columns(["created_at", "id"]).execute();
  await schema
    .createTable("tokens")
    .addColumn("hash", "text", (col) => col.primaryKey())
    .addColumn("grant_id", "text", (col) => col.notNull().references("grants.id").onDelete("cascade"))
    .addColumn("kind", "text", (col) => col.notNull())
    .addColumn("created_at", c.time, (col) => col.notNull())
    .addColumn("expires_at", c.time, (col) => col.notNull())
    .addColumn("rotated_at", c.time)
    .addColumn("successor_used_at", c.time)
    .addColumn("predecessor_hash", "text")
    .addColumn("sealed_successor", c.blob)
    .execute();
  await schema.createIndex("tokens_by_grant").on("tokens").column("grant_id").execute();
}
