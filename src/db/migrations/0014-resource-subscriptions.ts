import type { Kysely } from "kysely";
import type { Columns } from "./0001-initial.ts";

/** What sessions of older MCP clients follow, for whichever replica holds their stream. */
export async function up(db: Kysely<unknown>, { time }: Columns): Promise<void> {
  await db.schema
    .createTable("resource_subscriptions")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("session", "text", (col) => col.notNull())
    .addColumn("uri", "text", (col) => col.notNull())
    .addColumn("binding", "text", (col) => col.notNull())
    .addColumn("expires_at", time, (col) => col.notNull())
    .execute();
  for (const column of ["session", "binding"]) {
    await db.schema
      .createIndex(`resource_subscriptions_${column}`)
      .on("resource_subscriptions")
      .column(column)
      .execute();
  }
}
