import type { Kysely } from "kysely";
import type { Columns } from "./0001-initial.ts";

/** Who people are elsewhere, how they sign in, the groups they are in, and machines with an identity of their own. */
export async function up({ schema }: Kysely<unknown>, c: Columns): Promise<void> {
  await people(schema, c);
  await signIn(schema, c);
  await groups(schema, c);
  await schema
    .createTable("spent_assertions")
    .addColumn("hash", "text", (col) => col.primaryKey())
    .addColumn("expires_at", c.time, (col) => col.notNull())
    .execute();
  await schema
    .createIndex("spent_assertions_by_expiry")
    .on("spent_assertions")
    .column("expires_at")
    .execute();
}

async function people(schema: Kysely<unknown>["schema"], c: Columns): Promise<void> {
  const users = [
    ["kind", "person"],
    ["source", "api"],
  ] as const;
  for (const [name, value] of users)
    await schema
      .alterTable("users")
      .addColumn(name, "text", (col) => col.notNull().defaultTo(value))
      .execute();
  for (const name of ["own_role", "manager_id", "user_name", "external_id", "scim_json"])
    await schema.alterTable("users").addColumn(name, "text").execute();
  await schema.createIndex("users_by_manager").on("users").column("manager_id").execute();
  await schema.createIndex("users_user_name").on("users").column("user_name").unique().execute();
  await schema.createIndex("users_by_external_id").on("users").column("external_id").execute();
  await schema
    .createTable("user_identities")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("user_id", "text", (col) => col.notNull().references("users.id").onDelete("cascade"))
    .addColumn("issuer", "text", (col) => col.notNull())
    .addColumn("subject", "text", (col) => col.notNull())
    .addColumn("provider", "text", (col) => col.notNull())
    .addColumn("display", "text", (col) => col.notNull())
    .addColumn("created_at", c.time, (col) => col.notNull())
    .addColumn("last_used_at", c.time, (col) => col.notNull())
    .addUniqueConstraint("user_identities_subject", ["issuer", "subject"])
    .execute();
  await schema.createIndex("user_identities_by_user").on("user_identities").column("user_id").execute();
}

async function signIn(schema: Kysely<unknown>["schema"], c: Columns): Promise<void> {
  await schema
    .createTable("passkeys")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("user_id", "text", (col) => col.notNull().references("users.id").onDelete("cascade"))
    .addColumn("credential_id", "text", (col) => col.notNull().unique())
    .addColumn("public_key", c.blob, (col) => col.notNull())
    .addColumn("counter", c.time, (col) => col.notNull())
    .addColumn("transports_json", "text", (col) => col.notNull())
    .addColumn("name", "text", (col) => col.notNull())
    .addColumn("backed_up", "integer", (col) => col.notNull())
    .addColumn("created_at", c.time, (col) => col.notNull())
    .addColumn("last_used_at", c.time)
    .execute();
  await schema.createIndex("passkeys_by_user").on("passkeys").column("user_id").execute();
  await schema
    .createTable("totp_secrets")
    .addColumn("user_id", "text", (col) => col.primaryKey().references("users.id").onDelete("cascade"))
    .addColumn("sealed", c.blob, (col) => col.notNull())
    .addColumn("confirmed_at", c.time)
    .addColumn("last_step", c.time, (col) => col.notNull())
    .addColumn("created_at", c.time, (col) => col.notNull())
    .execute();
  await schema
    .alterTable("dashboard_sessions")
    .addColumn("method", "text", (col) => col.notNull().defaultTo("password"))
    .execute();
  for (const name of ["agent", "provider", "provider_subject", "provider_session"])
    await schema.alterTable("dashboard_sessions").addColumn(name, "text").execute();
  await schema.alterTable("dashboard_sessions").addColumn("sealed", c.blob).execute();
  await schema
    .createIndex("dashboard_sessions_by_provider")
    .on("dashboard_sessions")
    .columns(["provider", "provider_subject"])
    .execute();
}

async function groups(schema: Kysely<unknown>["schema"], c: Columns): Promise<void> {
  await schema
    .createTable("groups")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("name", "text", (col) => col.notNull().unique())
    .addColumn("description", "text", (col) => col.notNull())
    .addColumn("role", "text")
    .addColumn("source", "text", (col) => col.notNull())
    .addColumn("external_id", "text")
    .addColumn("created_at", c.time, (col) => col.notNull())
    .addColumn("updated_at", c.time, (col) => col.notNull())
    .execute();
  await schema.createIndex("groups_by_external_id").on("groups").column("external_id").execute();
  await schema
    .createTable("group_members")
    .addColumn("group_id", "text", (col) => col.notNull().references("groups.id").onDelete("cascade"))
    .addColumn("user_id", "text", (col) => col.notNull().references("users.id").onDelete("cascade"))
    .addColumn("via", "text", (col) => col.notNull())
    .addPrimaryKeyConstraint("group_members_key", ["group_id", "user_id"])
    .execute();
  await schema.createIndex("group_members_by_user").on("group_members").column("user_id").execute();
  await schema
    .createTable("group_upstreams")
    .addColumn("group_id", "text", (col) => col.notNull().references("groups.id").onDelete("cascade"))
    .addColumn("upstream_id", "text", (col) => col.notNull().references("upstreams.id").onDelete("cascade"))
    .addColumn("tools_json", "text", (col) => col.notNull())
    .addPrimaryKeyConstraint("group_upstreams_key", ["group_id", "upstream_id"])
    .execute();
  await schema
    .createIndex("group_upstreams_by_upstream")
    .on("group_upstreams")
    .column("upstream_id")
    .execute();
  await schema
    .createTable("virtual_mcp_groups")
    .addColumn("virtual_mcp_id", "text", (col) =>
      col.notNull().references("virtual_mcps.id").onDelete("cascade"),
    )
    .addColumn("group_id", "text", (col) => col.notNull().references("groups.id").onDelete("cascade"))
    .addPrimaryKeyConstraint("virtual_mcp_groups_key", ["virtual_mcp_id", "group_id"])
    .execute();
  await schema
    .createIndex("virtual_mcp_groups_by_group")
    .on("virtual_mcp_groups")
    .column("group_id")
    .execute();
}
