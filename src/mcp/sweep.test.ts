import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testWorld } from "../../test/support/world.ts";
import { VirtualKeys } from "../access/index.ts";
import { KeyedHash } from "../base/index.ts";
import { sweepKept } from "./sweep.ts";

onBothDatabases("what is kept for clients", (open) => {
  it("goes when it has expired, or when the key or grant that it hangs on has gone (AV-25)", async () => {
    const { database } = await open();
    const world = testWorld();
    const keys = new VirtualKeys({ world, database, hash: new KeyedHash(world.random(32)) });
    const { key } = await keys.create({ name: "k", configs: [], source: "api" });
    const now = world.now().getTime();
    const bindings = [`vk:${key.id}`, "vk:gone", "grant:gone", "anon_1"];
    const row = (id: string, binding: string, expires_at = now + 1000) => ({
      ...{ id, binding, expires_at, session: id, uri: "file:///a" },
    });
    await database.db
      .insertInto("resource_subscriptions")
      .values([...bindings.map((binding, at) => row(`s${at}`, binding)), row("old", bindings[0]!, now)])
      .execute();
    const task = { sealed: Buffer.of(1), expires_at: now + 1000 };
    await database.db
      .insertInto("finished_tasks")
      .values(bindings.map((binding, at) => ({ ...task, id: `t${at}`, binding })))
      .execute();
    await database.db
      .insertInto("ended_sessions")
      .values(Array.from({ length: 1200 }, (_, at) => ({ id: `e${at}`, expires_at: now + (at % 2) })))
      .execute();
    await Promise.all([sweepKept(database, world), sweepKept(database, world)]);
    const ids = async (table: "resource_subscriptions" | "finished_tasks" | "ended_sessions") =>
      (await database.db.selectFrom(table).select("id").orderBy("id").execute()).map(({ id }) => id);
    expect(await ids("resource_subscriptions")).toEqual(["s0", "s3"]);
    expect(await ids("finished_tasks")).toEqual(["t0", "t3"]);
    expect(await ids("ended_sessions")).toHaveLength(600);
  });
});
