import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testWorld } from "../../test/support/world.ts";
import type { Database } from "../db/index.ts";
import { Groups } from "./groups.ts";
import type { Role } from "./user-rows.ts";
import { Users } from "./users.ts";

async function start(database: Database) {
  const world = testWorld();
  const users = new Users({ database, world });
  const groups = new Groups({ database, world });
  const told: string[][] = [];
  groups.listeners.push(async (_tx, ids) => void told.push([...ids].sort()));
  const person = async (id: string, role: Role = "member", password_hash: string | null = "phc") => {
    const row = { id, email: `${id}@a.example`, name: id, role, is_active: 1, password_hash };
    await database.db
      .insertInto("users")
      .values({ ...row, created_at: 0, updated_at: 0 })
      .execute();
    return id;
  };
  const group = (name: string, role?: Role) =>
    database.transaction(async (tx) => (await groups.insert(tx, { name, role, source: "api" })).id);
  const put = (groupId: string, add: string[], remove: string[] = [], via = "api") =>
    database.transaction((tx) => groups.change(tx, groupId, { add, remove, via }));
  const roles = async (id: string) => {
    const { role, ownRole } = await users.get(id);
    return [role, ownRole];
  };
  return { database, users, groups, told, person, group, put, roles };
}

onBothDatabases("groups", (open) => {
  const setUp = async () => start((await open()).database);

  it("are listed by name, searched without wildcards, in pages, with how many are in", async () => {
    const { groups, group, put, person } = await setUp();
    for (const name of ["Beta", "al_fa", "Alpha"]) await group(name);
    const [alpha] = (await groups.list({ search: "alpha", limit: 10, offset: 0 })).groups;
    await put(alpha!.id, [await person("ann"), await person("bob")]);
    const names = async (search?: string, offset = 0) =>
      (await groups.list({ search, limit: 2, offset })).groups.map(({ name }) => name);
    expect(await names()).toHaveLength(2);
    expect(await names(undefined, 2)).toHaveLength(1);
    expect(await names("l_f")).toEqual(["al_fa"]);
    expect(await names("%")).toEqual([]);
    expect((await groups.list({ source: "scim", limit: 9, offset: 0 })).total).toBe(0);
    expect(await groups.sizes([alpha!.id, "none"])).toEqual(new Map([[alpha!.id, 2]]));
    const page = await groups.members(alpha!.id, { limit: 1, offset: 1 });
    expect(page).toMatchObject({ total: 2, members: [{ user: { id: "bob" }, via: "api" }] });
    expect((await groups.members(alpha!.id, { limit: 9, offset: 0, search: "ANN@" })).total).toBe(1);
  });

  it("have names of their own, and members that exist; a change that changes nothing tells nobody", async () => {
    const { database, groups, group, put, person, told } = await setUp();
    const [a, ann] = [await group("a"), await person("ann")];
    await expect(group("a")).rejects.toMatchObject({ code: "group_name_taken", param: "name" });
    const b = await group("b");
    const named = (name: string) => database.transaction((tx) => groups.update(tx, b, { name }));
    await expect(named("a")).rejects.toMatchObject({ code: "group_name_taken" });
    expect(await named("c")).toMatchObject({ name: "c" });
    await expect(put(a, [ann, "nobody"])).rejects.toMatchObject({ code: "unknown_user", kind: "invalid" });
    expect(await groups.memberIds(a)).toEqual([]);
    expect(await put(a, [ann])).toEqual({ added: [ann], removed: [] });
    expect(await put(a, [ann], ["nobody"])).toEqual({ added: [], removed: [] });
    expect(told.flat()).toEqual([ann]);
    const replaced = await database.transaction((tx) => groups.replace(tx, a, [], "api"));
    expect(replaced).toEqual({ added: [], removed: [ann] });
    for (const deed of [
      () => database.transaction((tx) => groups.delete(tx, "none")),
      () => database.transaction((tx) => groups.update(tx, "none", {})),
    ])
      await expect(deed()).rejects.toMatchObject({ code: "group_not_found", kind: "not_found" });
  });

  it("who signs in is put into what their provider says, and only what it put them in is taken", async () => {
    const { database, groups, group, put, person } = await setUp();
    const ann = await person("ann");
    const [a, b, c] = [await group("a"), await group("b"), await group("c")];
    await put(a, [ann]);
    const sync = (names: string[], via = "sso:x") =>
      database.transaction((tx) => groups.sync(tx, ann, names, via));
    const mine = async () => ((await groups.ofUsers([ann])).get(ann) ?? []).map(({ id }) => id);
    await sync(["a", "b", "unheard of"]);
    expect(await mine()).toEqual([a, b]);
    await sync(["c"], "jwt:y");
    expect(await mine()).toEqual([a, b, c]);
    await sync([]);
    expect(await mine()).toEqual([a, c]);
  });

  it("ID-18 a group that only a JWT named somebody into does not make them an administrator", async () => {
    const { database, groups, group, put, person, roles } = await setUp();
    await person("root", "admin");
    const ann = await person("ann");
    const a = await group("a", "admin");
    const sync = (names: string[], via: string) =>
      database.transaction((tx) => groups.sync(tx, ann, names, via));
    expect(await sync(["a"], "jwt:y")).toEqual({ added: [a], removed: [] });
    expect(await roles(ann)).toEqual(["member", "member"]);
    // Whoever else says so answers for it, and the token's word takes nothing back.
    await put(a, [ann]);
    expect(await roles(ann)).toEqual(["admin", "member"]);
    expect(await sync([], "jwt:y")).toEqual({ added: [], removed: [] });
    await put(a, [], [ann]);
    await sync(["a"], "jwt:y");
    expect(await sync(["a"], "sso:x")).toEqual({ added: [a], removed: [] });
    expect(await roles(ann)).toEqual(["admin", "member"]);
    expect(await sync([], "sso:x")).toEqual({ added: [], removed: [a] });
    expect(await roles(ann)).toEqual(["member", "member"]);
  });

  it("a group with a role makes its members that, for as long as they are in it", async () => {
    const { database, users, groups, group, put, person, roles } = await setUp();
    await person("root", "admin");
    const ann = await person("ann");
    const [a, b] = [await group("a", "admin"), await group("b", "admin")];
    await put(a, [ann]);
    expect(await roles(ann)).toEqual(["admin", "member"]);
    expect((await users.list({ role: "admin", limit: 9, offset: 0 })).total).toBe(2);
    await put(b, [ann]);
    await put(a, [], [ann]);
    expect(await roles(ann)).toEqual(["admin", "member"]);
    // Their own role is another thing.
    expect(await users.update(ann, { role: "admin" })).toMatchObject({ role: "admin", ownRole: "admin" });
    await put(b, [], [ann]);
    expect(await roles(ann)).toEqual(["admin", "admin"]);
    await put(b, [ann]);
    expect(await users.update(ann, { role: "member" })).toMatchObject({ role: "admin", ownRole: "member" });
    await database.transaction(async (tx) =>
      users.inRole(tx, await users.find(ann, tx).then((u) => u!), "member"),
    );
    expect(await roles(ann)).toEqual(["admin", "member"]);
    await database.transaction((tx) => groups.update(tx, b, { role: null }));
    expect(await roles(ann)).toEqual(["member", "member"]);
    await database.transaction((tx) => groups.update(tx, b, { role: "admin" }));
    expect(await roles(ann)).toEqual(["admin", "member"]);
    await database.transaction((tx) => groups.delete(tx, b));
    expect(await roles(ann)).toEqual(["member", "member"]);
  });

  it("the last administrator stays one, however a group would take it away", async () => {
    const { database, users, groups, group, put, person, roles } = await setUp();
    const [ann, bob] = [await person("ann"), await person("bob", "member", null)];
    const a = await group("a", "admin");
    // Somebody who cannot sign in is no administrator that anything hangs on.
    await put(a, [ann, bob]);
    const deeds = [
      () => put(a, [], [ann]),
      () => database.transaction((tx) => groups.replace(tx, a, [bob], "scim")),
      () => database.transaction((tx) => groups.update(tx, a, { role: null })),
      () => database.transaction((tx) => groups.update(tx, a, { role: "member" })),
      () => database.transaction((tx) => groups.delete(tx, a)),
      () => users.setActive(ann, false),
      () => users.delete(ann),
    ];
    for (const deed of deeds) {
      await expect(deed()).rejects.toMatchObject({ code: "last_administrator", kind: "conflict" });
      expect([await roles(ann), await groups.memberIds(a)]).toEqual([
        ["admin", "member"],
        [ann, bob],
      ]);
    }
    await put(a, [], [bob]);
    await person("root", "admin");
    await put(a, [], [ann]);
    expect(await roles(ann)).toEqual(["member", "member"]);
    const both = [await person("cleo"), await person("dora")];
    await put(a, both);
    await users.update("root", { role: "member" });
    // Two at once may not end each other.
    const ended = await Promise.allSettled(both.map((id) => put(a, [], [id])));
    expect(ended.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  it("a machine's account administers nothing, in whatever group it is", async () => {
    const { database, group, put, person, roles } = await setUp();
    const robot = await person("robot");
    await database.db.updateTable("users").set({ kind: "service" }).where("id", "=", robot).execute();
    await put(await group("a", "admin"), [robot]);
    expect(await roles(robot)).toEqual(["member", "member"]);
  });
});
