import { sql } from "kysely";
import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testWorld } from "../../test/support/world.ts";
import { Audit } from "./index.ts";

onBothDatabases("audit", (open, kind) => {
  async function setUp() {
    const world = testWorld();
    const { database } = await open();
    const rows = () => database.db.selectFrom("audit").selectAll().orderBy("at").orderBy("id").execute();
    return { world, database, rows, audit: new Audit({ database, world }) };
  }

  it("writes what was noted, in order and whole, however much waits", async () => {
    const { world, audit, rows } = await setUp();
    for (let i = 0; i < 450; i++) {
      audit.note({
        event: "call.made",
        actor: "vk:k",
        owner: { mode: "vk", id: "k" },
        upstreamId: "u",
        requestId: `r${i}`,
        detail: { tool: `"${i}'`, n: i },
      });
      world.advance(1);
    }
    await audit.flush();
    await audit.flush();
    const written = await rows();
    expect(written).toHaveLength(450);
    expect(written.map((row) => row.request_id)).toEqual(Array.from({ length: 450 }, (_, i) => `r${i}`));
    expect(written[7]).toMatchObject({
      event: "call.made",
      actor: "vk:k",
      owner_mode: "vk",
      owner_id: "k",
      upstream_id: "u",
    });
    expect(JSON.parse(written[7]!.detail_json)).toEqual({ tool: `"7'`, n: 7 });
    expect(written[0]!.at).toBe(world.now().getTime() - 450);
  });

  it("while the database takes nothing it keeps what waits, up to a bound, and writes it later, each line once (AV-05)", async () => {
    if (kind !== "sqlite") return;
    const { database, audit, rows } = await setUp();
    await sql`pragma query_only = on`.execute(database.db);
    for (let i = 0; i < 50_010; i++) audit.note({ event: "call.made", actor: "vk:k" });
    await expect(audit.flush()).rejects.toThrow();
    await expect(audit.flush()).rejects.toThrow();
    await sql`pragma query_only = off`.execute(database.db);
    await audit.flush();
    expect(await rows()).toHaveLength(50_000);
  });

  it("lines that may have been written are written again without harm", async () => {
    const { database, audit, rows } = await setUp();
    audit.note({ event: "call.made", actor: "vk:k" });
    await audit.flush();
    const { id, at, event, actor, detail_json: detail } = (await rows())[0]!;
    const line = [id, at, event, actor, detail];
    await database.insertMany("audit", ["id", "at", "event", "actor", "detail_json"], [line, line]);
    expect(await rows()).toHaveLength(1);
  });

  it("an entry without owner or request keeps them empty", async () => {
    const { audit, rows } = await setUp();
    audit.note({ event: "a.b", actor: "system" });
    await audit.flush();
    expect(await rows()).toMatchObject([
      { owner_mode: null, owner_id: null, upstream_id: null, request_id: null, detail_json: "{}" },
    ]);
  });

  it("stands and falls with the transaction it is written in", async () => {
    const { database, audit, rows } = await setUp();
    await database.transaction((tx) => audit.append(tx, { event: "kept", actor: "system" }));
    const failing = database.transaction(async (tx) => {
      await audit.append(tx, { event: "lost", actor: "system" });
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    expect((await rows()).map((row) => row.event)).toEqual(["kept"]);
  });
});
