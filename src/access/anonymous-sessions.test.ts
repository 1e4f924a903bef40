import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testWorld } from "../../test/support/world.ts";
import type { Owner } from "../base/index.ts";
import type { Database, Tx } from "../db/index.ts";
import { AnonymousSessions } from "./index.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
const MINUTE_MS = 60_000;

onBothDatabases("anonymous sessions", (open, kind) => {
  async function setUp(beside?: { database: Database; world: ReturnType<typeof testWorld> }) {
    const world = beside?.world ?? testWorld();
    const { database } = beside ?? (await open());
    const dropped: string[] = [];
    const drop = async (tx: Tx, { mode, id }: Owner) => {
      dropped.push(`${mode}:${id}`);
      await tx.deleteFrom("credentials").where("owner_mode", "=", mode).where("owner_id", "=", id).execute();
    };
    const sessions = new AnonymousSessions({ world, database, drop, log: world.log });
    const connect = async (id: string, mode: Owner["mode"] = "session") => {
      const now = world.now().getTime();
      await database.db
        .insertInto("upstreams")
        .values({
          id: "mcp_1",
          name: "u",
          source: "api",
          connection_type: "http",
          auth_type: "per_user_oauth",
          definition_json: "{}",
          allow_on_all_virtual_keys: 1,
          disabled: 0,
          state: "healthy",
          generation: 1,
          created_at: now,
          updated_at: now,
        })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      await database.db
        .insertInto("credentials")
        .values({
          id: `cred_${id}`,
          kind: "oauth",
          owner_mode: mode,
          owner_id: id,
          upstream_id: "mcp_1",
          account: "",
          status: "active",
          orphaned: 0,
          generation: 1,
          sealed: Buffer.from("x"),
          created_at: now,
          updated_at: now,
        })
        .execute();
    };
    const stored = async () =>
      (await database.db.selectFrom("anonymous_sessions").selectAll().orderBy("id").execute()).map(
        ({ id, last_used_at }) => [id, world.now().getTime() - last_used_at],
      );
    return { world, database, sessions, dropped, connect, stored };
  }

  it("writes the last use of those that have something to end, in one go and never backwards", async () => {
    const { world, database, sessions, connect, stored } = await setUp();
    await connect("anon_a");
    for (let n = 0; n < 500; n++) await sessions.used(`anon_made_up_${n}`);
    await sessions.used("anon_a");
    expect(await stored()).toEqual([]);
    await sessions.flush();
    expect(await stored()).toEqual([["anon_a", 0]]);
    world.advance(DAY_MS);
    await sessions.flush();
    expect(await stored()).toEqual([["anon_a", DAY_MS]]);
    await sessions.used("anon_a");
    const ahead = world.now().getTime() + 5;
    await database.db.updateTable("anonymous_sessions").set({ last_used_at: ahead }).execute();
    await sessions.flush();
    expect(await stored()).toEqual([["anon_a", -5]]);
  });

  it("contract section 1: thirty days without use end it, by the sweep", async () => {
    const { world, sessions, dropped, connect, stored } = await setUp();
    await connect("anon_used");
    await connect("anon_never");
    await connect("grant_other");
    await connect("anon_of_another_kind", "vk");
    world.advance(20 * DAY_MS);
    await sessions.used("anon_used");
    await sessions.flush();
    world.advance(10 * DAY_MS);
    await sessions.sweep();
    expect(dropped).toEqual([]);
    world.advance(MINUTE_MS);
    await sessions.sweep();
    expect(dropped).toEqual(["session:anon_never"]);
    world.advance(20 * DAY_MS);
    await sessions.sweep();
    await sessions.sweep();
    expect(dropped).toEqual(["session:anon_never", "session:anon_used"]);
    expect(await stored()).toEqual([]);
  });

  it("a credential that was renewed or connected lately counts as use", async () => {
    const { world, database, sessions, dropped, connect } = await setUp();
    await connect("anon_a");
    world.advance(29 * DAY_MS);
    await database.db.updateTable("credentials").set({ last_refreshed_at: world.now().getTime() }).execute();
    world.advance(29 * DAY_MS);
    await sessions.sweep();
    expect(dropped).toEqual([]);
    world.advance(2 * DAY_MS);
    await sessions.sweep();
    expect(dropped).toEqual(["session:anon_a"]);
  });

  it("a use after thirty days finds nothing of before, whether this process saw it or not", async () => {
    for (const seen of [true, false]) {
      const { world, sessions, dropped, connect } = await setUp();
      await connect("anon_a");
      if (seen) await sessions.used("anon_a");
      await sessions.flush();
      world.advance(30 * DAY_MS - 1);
      await sessions.used("anon_none");
      world.advance(1);
      await sessions.used("anon_a");
      expect(dropped).toEqual(["session:anon_a"]);
      await connect("anon_a");
      await sessions.used("anon_a");
      expect(dropped).toHaveLength(1);
    }
  });

  it("a use that this process has not written yet keeps it, on a restart too", async () => {
    const first = await setUp();
    await first.connect("anon_a");
    first.world.advance(29 * DAY_MS);
    await first.sessions.used("anon_a");
    await first.sessions.flush();
    const second = await setUp(first);
    first.world.advance(29 * DAY_MS);
    await second.sessions.used("anon_a");
    await second.sessions.flush();
    first.world.advance(29 * DAY_MS);
    await first.sessions.used("anon_a");
    expect([...first.dropped, ...second.dropped]).toEqual([]);
  });

  it("two sweeps at once end it once", async () => {
    const { world, sessions, dropped, connect, database } = await setUp();
    await connect("anon_a");
    world.advance(31 * DAY_MS);
    await Promise.all([sessions.sweep(), sessions.sweep(), sessions.used("anon_a")]);
    // On Postgres two may look at once; what they drop is there once.
    expect(dropped.length).toBeGreaterThan(0);
    if (kind === "sqlite") expect(dropped).toHaveLength(1);
    expect(await database.db.selectFrom("credentials").selectAll().execute()).toEqual([]);
  });

  it("rows that nothing hangs on any more go with the sweep", async () => {
    const { world, sessions, dropped, connect, database } = await setUp();
    await connect("anon_first");
    const now = world.now().getTime();
    for (let from = 0; from < 1_000; from += 500) {
      await database.db
        .insertInto("anonymous_sessions")
        .values(Array.from({ length: 500 }, (_, n) => ({ id: `anon_${from + n}`, last_used_at: now })))
        .execute();
    }
    world.advance(31 * DAY_MS);
    await sessions.sweep();
    expect(dropped).toEqual(["session:anon_first"]);
    expect(await database.db.selectFrom("anonymous_sessions").selectAll().execute()).toEqual([]);
  });
});
