import { type Kysely, sql } from "kysely";

/** Accounts by the provider's names, a swap that its person agreed to, and several accounts of one upstream with one default. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable("credentials").addColumn("subject_name", "text").execute();
  await db.schema.alterTable("credentials").addColumn("replaces_subject", "text").execute();
  await db.schema
    .alterTable("credentials")
    .addColumn("is_default", "integer", (col) => col.notNull().defaultTo(0))
    .execute();
  // Until now nobody could keep several.
  await sql`update credentials set is_default = 1 where account = ''`.execute(db);
  // At most one default per owner and upstream is a rule of the database; that there is one is put's and removal's.
  await db.schema
    .createIndex("credentials_one_default")
    .unique()
    .on("credentials")
    .columns(["owner_mode", "owner_id", "upstream_id"])
    .where(sql<boolean>`is_default = 1`)
    .execute();
}
