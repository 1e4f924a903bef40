import type { Kysely } from "kysely";
import type { Columns } from "./0001-initial.ts";

/** What is known of a refresh whose answer never came, of use, and of registrations that were made again. */
export async function up({ schema }: Kysely<unknown>, c: Columns): Promise<void> {
  await schema.alterTable("credentials").addColumn("refresh_started_at", c.time).execute();
  await schema.alterTable("credentials").addColumn("used_at", c.time).execute();
  await schema.alterTable("credentials").addColumn("keep_alive_at", c.time).execute();
  await schema.alterTable("oauth_configs").addColumn("registered_again_at", c.time).execute();
  await schema
    .createIndex("credentials_by_keep_alive")
    .on("credentials")
    .columns(["keep_alive_at", "id"])
    .execute();
}
