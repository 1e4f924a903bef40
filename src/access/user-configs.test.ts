import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { Seal } from "../base/index.ts";
import { type Database, openKeyedHash } from "../db/index.ts";
import { Memberships, Users } from "../identity/index.ts";
import { checkDefinition, Upstreams } from "../upstreams/index.ts";
import { Access, userConfigs, VirtualKeys } from "./index.ts";

async function start(database: Database) {
  const world = testWorld();
  const seal = new Seal([world.random(32)], world.random);
  const upstreams = new Upstreams({ world, database, seal, settings: testSettings() });
  await upstreams.load();
  const keys = new VirtualKeys({ world, database, hash: await openKeyedHash(database, seal, world) });
  const access = new Access({ world, database, upstreams, keys, memberships: new Memberships(database) });
  const users = new Users({ database, world });
  const told: string[][] = [];
  access.listeners.push(async (_tx, changes) => {
    for (const { allowed } of changes) told.push([...allowed].sort());
  });
  const prepared = await users.prepare({ email: "a@example.com", role: "member" });
  const user = await database.transaction((tx) => users.insert(tx, prepared));
  const upstream = async (name: string, changes = {}) => {
    const connection_string = `https://${name}.example/`;
    const made = await upstreams.create(checkDefinition({ name, connection_string, ...changes }), "api");
    return made.id;
  };
  const configs = userConfigs({ upstreams, access });
  const replace = (...bodies: Parameters<typeof configs.resolve>[0]) =>
    users.update(user.id, {}, (tx) => configs.replace(tx, user.id, configs.resolve(bodies)));
  const rules = async () => {
    const { upstreams: allowed } = await access.rulesFor({ owner: { mode: "user", id: user.id } });
    return Object.fromEntries(
      [...allowed].map(([id, tools]) => [id, tools === "*" ? "*" : [...tools].sort()]),
    );
  };
  return { database, upstreams, keys, users, user, upstream, configs, replace, rules, told };
}

onBothDatabases("what a person may use by name", (open) => {
  const setUp = async () => start((await open()).database);

  it("joins what is allowed on all keys and what keys of theirs allow, and never narrows it", async () => {
    const { upstream, replace, rules, keys, user } = await setUp();
    const shared = await upstream("shared", { allow_on_all_virtual_keys: true });
    const [own, other] = [await upstream("own"), await upstream("other")];
    expect(await rules()).toEqual({ [shared]: "*" });
    await replace(
      { mcp_client_name: "own", tools_to_execute: ["a"] },
      { mcp_client_id: shared, tools_to_execute: ["a"] },
    );
    expect(await rules()).toEqual({ [shared]: "*", [own]: ["a"] });
    const config = (upstreamId: string, tool: string) => ({ upstreamId, tools: [tool] });
    await keys.create({
      name: "k",
      userId: user.id,
      configs: [config(own, "b"), config(other, "c")],
      source: "api",
    });
    expect(await rules()).toEqual({ [shared]: "*", [own]: ["a", "b"], [other]: ["c"] });
    await replace();
    expect(await rules()).toEqual({ [shared]: "*", [own]: ["b"], [other]: ["c"] });
  });

  it("tells in the transaction of the change, so that credentials follow or nothing does", async () => {
    const { upstream, replace, told, users, user, configs, rules } = await setUp();
    const own = await upstream("own");
    await replace({ mcp_client_id: own });
    expect(told).toEqual([[own]]);
    await replace({ mcp_client_id: own, tools_to_execute: [] });
    // No tools at all is no access.
    expect(told.at(-1)).toEqual([]);
    await replace({ mcp_client_id: own });
    const failing = users.update(user.id, {}, async (tx) => {
      await configs.replace(tx, user.id, []);
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    expect(await rules()).toEqual({ [own]: "*" });
  });

  it("goes with the upstream and with the person", async () => {
    const { upstream, upstreams, replace, rules, database, configs, user, users } = await setUp();
    const [own, other] = [await upstream("own"), await upstream("other")];
    await replace({ mcp_client_id: own }, { mcp_client_id: other });
    await upstreams.delete(own);
    expect(await rules()).toEqual({ [other]: "*" });
    expect((await configs.read(database.db, [user.id])).get(user.id)).toEqual([
      { mcp_client_id: other, mcp_client_name: "other", tools_to_execute: ["*"] },
    ]);
    await users.delete(user.id);
    expect(await database.db.selectFrom("user_upstreams").selectAll().execute()).toEqual([]);
  });
});
