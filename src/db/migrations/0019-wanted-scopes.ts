import type { Kysely } from "kysely";
import type { Columns } from "./0001-initial.ts";

/** Scopes that an upstream asks for later, and what registrations of ours are ended with. */
export async function up({ schema }: Kysely<unknown>, c: Columns): Promise<void> {
  await schema.alterTable("credentials").addColumn("asked_scopes_json", "text").execute();
  await schema.alterTable("credentials").addColumn("wanted_scopes_json", "text").execute();
  await schema.alterTable("oauth_configs").addColumn("sealed_management", c.blob).execute();
}
