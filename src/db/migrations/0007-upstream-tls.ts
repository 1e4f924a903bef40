import type { Kysely } from "kysely";
import type { Columns } from "./0001-initial.ts";

/** How TLS is spoken with an upstream that has a certificate authority of its own or asks for a client certificate. */
export async function up({ schema }: Kysely<unknown>, c: Columns): Promise<void> {
  await schema.alterTable("upstreams").addColumn("sealed_tls", c.blob).execute();
}
