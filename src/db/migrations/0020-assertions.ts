import type { Kysely } from "kysely";
import type { Columns } from "./0001-initial.ts";

/** What the gateway shows for tokens of its own: a workload's JWT, or an identity assertion that is exchanged. */
export async function up({ schema }: Kysely<unknown>, c: Columns): Promise<void> {
  await schema.alterTable("oauth_configs").addColumn("sealed_assertion", c.blob).execute();
  await schema.alterTable("oauth_configs").addColumn("sealed_idp_secret", c.blob).execute();
}
