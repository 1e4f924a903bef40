import type { Kysely } from "kysely";
import type { Columns } from "./0001-initial.ts";

/** Results that older clients wanted as a task, of upstreams that answered at once. */
export async function up({ schema }: Kysely<unknown>, { time, blob }: Columns): Promise<void> {
  await schema
    .createTable("finished_tasks")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("binding", "text", (col) => col.notNull())
    .addColumn("sealed", blob, (col) => col.notNull())
    .addColumn("expires_at", time, (col) => col.notNull())
    .execute();
  await schema
    .createIndex("finished_tasks_by_binding")
    .on("finished_tasks")
    .columns(["binding", "expires_at"])
    .execute();
}
