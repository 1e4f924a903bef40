import type { Kysely } from "kysely";

/** Whether a virtual MCP shows the names of its one upstream as they are. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .alterTable("virtual_mcps")
    .addColumn("names", "text", (col) => col.notNull().defaultTo("prefixed"))
    .execute();
}
