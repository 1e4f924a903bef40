import type { Kysely } from "kysely";
import type { Columns } from "./0001-initial.ts";

/** Which replica does what only one should do at a time. */
export async function up({ schema }: Kysely<unknown>, { time }: Columns): Promise<void> {
  await schema
    .createTable("leases")
    .addColumn("name", "text", (col) => col.primaryKey())
    .addColumn("holder", "text", (col) => col.notNull())
    .addColumn("until", time, (col) => col.notNull())
    .execute();
}
