import type { Kysely } from "kysely";

/** Whether a virtual MCP lists its tools or two tools that search and call them. */
export async function up({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .alterTable("virtual_mcps")
    .addColumn("listing", "text", (col) => col.notNull().defaultTo("full"))
    .execute();
}
