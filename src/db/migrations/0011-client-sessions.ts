import type { Kysely } from "kysely";
import type { Columns } from "./0001-initial.ts";

/** Sessions of older clients that their clients ended, and what replicas tell each other about calls they hold. */
export async function up(db: Kysely<unknown>, { time, blob }: Columns): Promise<void> {
  await db.schema
    .createTable("ended_sessions")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("expires_at", time, (col) => col.notNull())
    .execute();
  await db.schema
    .createTable("replica_messages")
    .addColumn("id", "text", (col) => col.primaryKey())
    .addColumn("sealed", blob, (col) => col.notNull())
    .addColumn("expires_at", time, (col) => col.notNull())
    .execute();
}
