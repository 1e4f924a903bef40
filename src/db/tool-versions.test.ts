import type { Kysely } from "kysely";
import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { fingerprint } from "../base/index.ts";
import { up } from "./migrations/0017-tool-versions.ts";

onBothDatabases("migration 0017", (open, kind) => {
  it("approves what was stored before it, byte for byte, and leaves what was never read unread", async () => {
    const { database } = await open();
    const { db } = database;
    await db.schema.dropTable("tool_versions").execute();
    await db.schema.alterTable("upstreams").dropColumn("tools_approved_at").execute();
    await db.schema.alterTable("upstreams").dropColumn("held_tools").execute();
    const tools =
      '[{"b":1,"name":"a\\u0000","limit":12345678901234567890},{"name":"twice"},{"name":"twice"}]';
    const many = Array.from({ length: 1200 }, (_, at) => ({ name: `t${at}` }));
    const stored = { read: tools, never: null, none: "[]", many: JSON.stringify(many) };
    for (const [name, tools_json] of Object.entries(stored))
      await db
        .insertInto("upstreams")
        .values({
          id: name,
          name,
          source: "api",
          connection_type: "http",
          connection_string: `https://${name}.example/mcp`,
          auth_type: "none",
          definition_json: "{}",
          sealed_headers: null,
          sealed_tls: null,
          allow_on_all_virtual_keys: 0,
          disabled: 0,
          state: "healthy",
          failure_json: null,
          generation: 1,
          era: null,
          tools_json,
          features_json: null,
          tools_synced_at: tools_json && 1000,
          created_at: 1,
          updated_at: 1,
        } as never)
        .execute();
    const time = kind === "sqlite" ? "integer" : "bigint";
    await up(db as unknown as Kysely<unknown>, { time, blob: kind === "sqlite" ? "blob" : "bytea" });
    const approved = await db
      .selectFrom("upstreams")
      .select(["id", "tools_approved_at", "held_tools"])
      .orderBy("id")
      .execute();
    expect(approved).toEqual([
      { id: "many", tools_approved_at: 1000, held_tools: 0 },
      { id: "never", tools_approved_at: null, held_tools: 0 },
      { id: "none", tools_approved_at: null, held_tools: 0 },
      { id: "read", tools_approved_at: 1000, held_tools: 0 },
    ]);
    const versions = await db
      .selectFrom("tool_versions")
      .selectAll()
      .where("upstream_id", "=", "read")
      .orderBy("offered")
      .execute();
    const common = { upstream_id: "read", status: "approved", decided_by: "first_reading" };
    const times = { first_seen_at: 1000, decided_at: 1000 };
    expect(versions).toEqual([
      {
        ...common,
        ...times,
        hash: expect.stringMatching(/^[0-9a-f]{64}$/),
        name: '"a\\u0000"',
        definition_json: '{"b":1,"name":"a\\u0000","limit":12345678901234567890}',
        offered: 1,
      },
      {
        ...common,
        ...times,
        hash: fingerprint({ name: "twice" }),
        name: '"twice"',
        definition_json: '{"name":"twice"}',
        offered: 2,
      },
    ]);
    expect(await db.selectFrom("tool_versions").select("hash").execute()).toHaveLength(1202);
  });
});
