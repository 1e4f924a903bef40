import type { Kysely } from "kysely";
import type { Columns } from "./0001-initial.ts";

/** The keys that values are sealed with, each wrapped by a key that is not in the database. */
export async function up({ schema }: Kysely<unknown>, c: Columns): Promise<void> {
  await schema
    .createTable("data_keys")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("direct", "integer", (column) => column.notNull().defaultTo(0))
    .addColumn("state", "text", (column) => column.notNull())
    .addColumn("wrapped", c.blob, (column) => column.notNull())
    .addColumn("provider", "text", (column) => column.notNull())
    .addColumn("wrapped_by", "text", (column) => column.notNull())
    .addColumn("instance_id", "text", (column) => column.notNull())
    .addColumn("created_at", c.time, (column) => column.notNull())
    .addColumn("retired_at", c.time)
    .execute();
}
