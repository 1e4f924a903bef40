import { testSettings } from "../../test/support/settings.ts";
import { type TestWorld, testWorld } from "../../test/support/world.ts";
import { type Owner, Seal } from "../base/index.ts";
import { type Database, openKeyedHash } from "../db/index.ts";
import { Groups, Memberships } from "../identity/index.ts";
import { checkDefinition, Upstreams } from "../upstreams/index.ts";
import { Access, groupGifts, VirtualKeys, VirtualMcps } from "./index.ts";

/** What a second replica has in common with the first. */
export interface Beside {
  world: TestWorld;
  seal: Seal;
}

/** The real parts of this folder on a database, with upstreams and users to give rules on. */
export async function start(database: Database, beside?: Beside) {
  const world = beside?.world ?? testWorld();
  const seal = beside?.seal ?? new Seal([world.random(32)], world.random);
  const upstreams = new Upstreams({ world, database, seal, settings: testSettings() });
  await upstreams.load();
  const keys = new VirtualKeys({ world, database, hash: await openKeyedHash(database, seal, world) });
  const memberships = new Memberships(database);
  const access = new Access({ world, database, upstreams, keys, memberships });
  const groups = new Groups({ database, world });
  groups.listeners.push((tx, userIds) => access.usersChanged(tx, userIds));
  const virtualMcps = new VirtualMcps({ world, database, keys, memberships });
  keys.listeners.push({ changed: (tx, before, after) => access.keyChanged(tx, before, after) });
  upstreams.listeners.push({ changed: (tx, _before, after) => access.upstreamChanged(tx, after.id) });
  const told: { owner: Owner; allowed: string[] }[] = [];
  access.listeners.push(async (_tx, changes) => {
    for (const { owner, allowed } of changes) told.push({ owner, allowed: [...allowed].sort() });
  });
  const upstream = (name: string, changes = {}) =>
    upstreams.create(
      checkDefinition({
        name,
        connection_string: `https://${name}.example/`,
        tools_to_execute: ["*"],
        ...changes,
      }),
      "api",
    );
  const user = async (id: string) => {
    const row = {
      id,
      email: `${id}@a.example`,
      name: id,
      role: "member" as const,
      is_active: 1,
      created_at: 0,
      updated_at: 0,
    };
    await database.db
      .insertInto("users")
      .values({ ...row, password_hash: null })
      .execute();
    return id;
  };
  const gifts = groupGifts({ world, database, upstreams });
  return { world, database, seal, upstreams, keys, access, groups, gifts, virtualMcps, told, upstream, user };
}
