import type { Kysely } from "kysely";
import type { Columns } from "./0001-initial.ts";

/** The private key with which we prove ourselves at an upstream's token endpoint (RFC 7523 §2.2). */
export async function up(db: Kysely<unknown>, c: Columns): Promise<void> {
  await db.schema.alterTable("oauth_configs").addColumn("sealed_private_key", c.blob).execute();
}
