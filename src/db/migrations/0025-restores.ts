import { type Kysely, sql } from "kysely";
import type { Columns } from "./0001-initial.ts";

/** Which backups this database was made from, and when: what is older than they are may have been used since. */
export async function up({ schema }: Kysely<unknown>, c: Columns): Promise<void> {
  await schema
    .createTable("restores")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("backup_made_at", c.time, (col) => col.notNull())
    .addColumn("restored_at", c.time, (col) => col.notNull())
    .execute();
  // What the sweeps look for.
  await schema.createIndex("flows_by_end").on("flows").column("ended_at").execute();
  await schema.createIndex("tokens_by_expiry").on("tokens").column("expires_at").execute();
  await schema.createIndex("grants_by_client").on("grants").column("client_row_id").execute();
  await schema
    .createIndex("credentials_orphaned")
    .on("credentials")
    .columns(["updated_at", "id"])
    .where(sql<boolean>`orphaned = 1`)
    .execute();
}
