import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import type { Database } from "../db/index.ts";
import { start } from "./access.suite.ts";

const all = (upstreamId: string) => ({ upstreamId, tools: ["*"] });
const API = "api" as const;

onBothDatabases("what groups give", (open, kind) => {
  const setUp = async () => start((await open()).database);
  type House = Awaited<ReturnType<typeof setUp>>;

  /** A group with upstreams; the members are told. */
  async function group(
    { database, groups, gifts }: House,
    name: string,
    configs = [] as ReturnType<typeof all>[],
  ) {
    return database.transaction(async (tx) => {
      const made = await groups.insert(tx, { name, source: API });
      await gifts.replace(tx, made.id, { configs });
      return made.id;
    });
  }

  function put({ database, groups }: House, groupId: string, add: string[], remove: string[] = []) {
    return database.transaction((tx) => groups.change(tx, groupId, { add, remove, via: API }));
  }

  const give = ({ database, groups, gifts }: House, groupId: string, configs: ReturnType<typeof all>[]) =>
    database.transaction(async (tx) => {
      await gifts.replace(tx, groupId, { configs });
      await groups.gives(tx, groupId);
    });

  async function rules({ access }: House, id: string) {
    const { upstreams } = await access.rulesFor({ owner: { mode: "user", id } });
    return Object.fromEntries(
      [...upstreams].map(([key, tools]) => [key, tools === "*" ? "*" : [...tools].sort()]),
    );
  }

  it("ID-28 is joined with one's own, everybody's and one's keys', and follows every change at once", async () => {
    const at = await setUp();
    const [own, mine, shared] = [
      await at.upstream("own"),
      await at.upstream("mine"),
      await at.upstream("shared", { allow_on_all_virtual_keys: true }),
    ];
    const ann = await at.user("ann");
    const [a, b] = [
      await group(at, "a", [{ upstreamId: own.id, tools: ["read"] }]),
      await group(at, "b", [{ upstreamId: own.id, tools: ["write"] }]),
    ];
    expect(await rules(at, ann)).toEqual({ [shared.id]: "*" });
    await put(at, a, [ann]);
    expect(await rules(at, ann)).toEqual({ [shared.id]: "*", [own.id]: ["read"] });
    await put(at, b, [ann]);
    expect(await rules(at, ann)).toEqual({ [shared.id]: "*", [own.id]: ["read", "write"] });
    await at.keys.create({ name: "k", userId: ann, configs: [all(mine.id)], source: API });
    expect(await rules(at, ann)).toMatchObject({ [mine.id]: "*" });
    await give(at, b, [{ upstreamId: own.id, tools: ["*"] }]);
    expect(await rules(at, ann)).toMatchObject({ [own.id]: "*" });
    await at.database.transaction((tx) => at.groups.delete(tx, b));
    expect(await rules(at, ann)).toMatchObject({ [own.id]: ["read"] });
    await at.upstreams.delete(own.id);
    expect(Object.keys(await rules(at, ann)).sort()).toEqual([mine.id, shared.id].sort());
    await put(at, a, [], [ann]);
    expect(await at.groups.memberIds(a)).toEqual([]);
  });

  it("a key of a person has its own rules; what their groups give is theirs when they sign in", async () => {
    const at = await setUp();
    const own = await at.upstream("own");
    const ann = await at.user("ann");
    await put(at, await group(at, "a", [all(own.id)]), [ann]);
    const { key } = await at.keys.create({ name: "k", userId: ann, configs: [], source: API });
    const byKey = await at.access.rulesFor({ owner: { mode: "user", id: ann }, virtualKeyId: key.id });
    expect(byKey.upstreams.size).toBe(0);
    expect(await rules(at, ann)).toEqual({ [own.id]: "*" });
  });

  it("ID-14 in the transaction of the change, who holds something is told, and nobody else", async () => {
    const at = await setUp();
    const [own, other] = [await at.upstream("own"), await at.upstream("other")];
    const [ann, bob] = [await at.user("ann"), await at.user("bob")];
    await hold(at.database, [ann], own.id);
    const a = await group(at, "a", [all(own.id)]);
    const of = (allowed: string[]) => [{ owner: { mode: "user", id: ann }, allowed }];
    await put(at, a, [ann, bob]);
    expect(at.told.splice(0)).toEqual(of([own.id]));
    await put(at, a, [ann, bob]);
    expect(at.told.splice(0)).toEqual([]);
    await give(at, a, [all(own.id), all(other.id)]);
    expect(at.told.splice(0)).toEqual(of([own.id, other.id].sort()));
    await put(at, a, [], [ann]);
    expect(at.told.splice(0)).toEqual(of([]));
    await put(at, a, [ann]);
    at.told.splice(0);
    await at.database.transaction((tx) => at.groups.delete(tx, a));
    expect(at.told.splice(0)).toEqual(of([]));
    const b = await group(at, "b", [all(own.id)]);
    at.access.listeners.push(() => Promise.reject(new Error("store failure")));
    await expect(put(at, b, [ann])).rejects.toThrow("store failure");
    expect(await at.groups.memberIds(b)).toEqual([]);
  });

  it("of ten thousand members each is told once, a batch at a time", async () => {
    const at = await setUp();
    const own = await at.upstream("own");
    const ids = Array.from({ length: 10_000 }, (_, n) => `user_${String(n).padStart(5, "0")}`);
    await at.database.insertMany(
      "users",
      ["id", "email", "name", "role", "is_active", "kind", "source", "created_at", "updated_at"],
      ids.map((id) => [id, `${id}@a.example`, id, "member", 1, "person", API, 0, 0]),
    );
    await hold(at.database, ids, own.id);
    const sizes: number[] = [];
    const told = new Map<string, number>();
    at.access.listeners.splice(0);
    at.access.listeners.push(async (_tx, changes) => {
      sizes.push(changes.length);
      for (const { owner, allowed } of changes) told.set(owner.id, allowed.size);
      // Those who have the same have it once in memory.
      expect(new Set(changes.map(({ allowed }) => [...allowed].join())).size).toBe(1);
    });
    const a = await group(at, "a", [all(own.id)]);
    await put(at, a, ids);
    expect([sizes.length, Math.max(...sizes), told.size]).toEqual([20, 500, 10_000]);
    expect(new Set(told.values())).toEqual(new Set([1]));
    expect(await rules(at, ids[9_999]!)).toEqual({ [own.id]: "*" });
    await at.database.transaction((tx) => at.groups.delete(tx, a));
    expect([sizes.length, told.size, new Set(told.values())]).toEqual([40, 10_000, new Set([0])]);
    expect(await rules(at, ids[9_999]!)).toEqual({});
  }, 60_000);

  it("of two changes of one person's groups at once, the second sees the first", async () => {
    const at = await setUp();
    const own = await at.upstream("own");
    const ann = await at.user("ann");
    await hold(at.database, [ann], own.id);
    const [a, b] = [await group(at, "a", [all(own.id)]), await group(at, "b", [all(own.id)])];
    const { key } = await at.keys.create({ name: "k", userId: ann, configs: [all(own.id)], source: API });
    await put(at, a, [ann]);
    await put(at, b, [ann]);
    at.told.splice(0);
    await Promise.all([
      put(at, a, [], [ann]),
      put(at, b, [], [ann]),
      at.keys.update(key.id, { configs: [] }),
    ]);
    // Whoever came last took the last of it.
    expect(at.told.at(-1)).toEqual({ owner: { mode: "user", id: ann }, allowed: [] });
  });

  it("a change of one key or person leaves what is known of the others in memory", async () => {
    const at = await setUp();
    const own = await at.upstream("own");
    const [ann, bob] = [await at.user("ann"), await at.user("bob")];
    const a = await group(at, "a", [all(own.id)]);
    await put(at, a, [ann, bob]);
    const first = await at.keys.create({ name: "1", configs: [all(own.id)], source: API });
    const second = await at.keys.create({ name: "2", userId: bob, configs: [all(own.id)], source: API });
    const subjects = [
      { owner: { mode: "vk", id: first.key.id } },
      { owner: { mode: "user", id: bob }, virtualKeyId: second.key.id },
      { owner: { mode: "user", id: ann } },
      { owner: { mode: "user", id: bob } },
    ] as const;
    const known = () => subjects.map((subject) => at.access.known(subject) !== undefined);
    const warm = async () => {
      for (const subject of subjects) await at.access.rulesFor(subject);
      for (const { value } of [first, second]) await at.keys.authenticate(value.reveal());
      expect(known()).toEqual([true, true, true, true]);
    };
    await warm();
    await at.keys.update(first.key.id, { description: "other" });
    expect(known()).toEqual([false, true, true, true]);
    // Read inside a transaction, where the outer handle throws: from memory, then.
    expect((await at.database.transaction(() => at.keys.authenticate(second.value.reveal()))).ok).toBe(true);
    await warm();
    await at.keys.update(second.key.id, { description: "other" });
    expect(known()).toEqual([true, false, true, false]);
    await warm();
    const third = await at.keys.create({ name: "3", userId: ann, configs: [], source: API });
    expect(known()).toEqual([true, true, false, true]);
    await warm();
    await at.keys.update(third.key.id, { isActive: false });
    expect(known()).toEqual([true, true, false, true]);
    await warm();
    await at.keys.delete(second.key.id);
    expect(known()).toEqual([true, false, true, false]);
    expect((await at.keys.authenticate(second.value.reveal())).ok).toBe(false);
    await put(at, a, [], [bob]);
    expect(await rules(at, bob)).toEqual({});
  });

  it("a rotated key's old value ends, and its new one counts, for whoever has both in memory", async () => {
    const at = await setUp();
    const { key, value } = await at.keys.create({ name: "k", configs: [], source: API });
    expect((await at.keys.authenticate(value.reveal())).ok).toBe(true);
    const next = await at.keys.rotate(key.id, 1000);
    for (const one of [value, next.value]) expect((await at.keys.authenticate(one.reveal())).ok).toBe(true);
    const last = await at.keys.rotate(key.id, 0);
    for (const one of [value, next.value]) expect((await at.keys.authenticate(one.reveal())).ok).toBe(false);
    expect((await at.keys.authenticate(last.value.reveal())).ok).toBe(true);
  });

  it.runIf(kind === "postgres")(
    "another replica follows: groups, keys one by one, new keys, attachments",
    async () => {
      const { database, url } = await open();
      const here = await start(database);
      const there = await start((await open(url)).database, here);
      const own = await here.upstream("own");
      const [ann, bob] = [await here.user("ann"), await here.user("bob")];
      const a = await group(here, "a", [all(own.id)]);
      const bundle = { slug: "team", name: "Team", upstreams: [all(own.id)], virtualKeyIds: [], userIds: [] };
      await here.virtualMcps.create({ ...bundle, groupIds: [a], source: API });
      const { changes } = there.database;
      await changes.pull();
      await there.upstreams.settled();
      const served = async (id: string) =>
        (await there.virtualMcps.serving("team", { owner: { mode: "user", id } })) !== undefined;
      expect([await rules(there, ann), await served(ann)]).toEqual([{}, false]);
      await put(here, a, [ann]);
      await changes.pull();
      expect([await rules(there, ann), await served(ann)]).toEqual([{ [own.id]: "*" }, true]);
      expect(await rules(there, bob)).toEqual({});
      const { key } = await here.keys.create({ name: "k", userId: bob, configs: [all(own.id)], source: API });
      await changes.pull();
      expect(there.access.known({ owner: { mode: "user", id: ann } })).toBeDefined();
      expect(await rules(there, bob)).toEqual({ [own.id]: "*" });
      await here.keys.update(key.id, { configs: [] });
      await changes.pull();
      expect(await rules(there, bob)).toEqual({});
      await here.database.transaction((tx) => here.groups.delete(tx, a));
      await changes.pull();
      expect([await rules(there, ann), await served(ann)]).toEqual([{}, false]);
    },
  );

  it("a virtual MCP that is attached to a group serves its members, and their keys", async () => {
    const at = await setUp();
    const own = await at.upstream("own");
    const [ann, bob] = [await at.user("ann"), await at.user("bob")];
    const a = await group(at, "a");
    const { key } = await at.keys.create({ name: "k", userId: ann, configs: [all(own.id)], source: API });
    const given = { upstreams: [all(own.id)], virtualKeyIds: [], userIds: [] };
    const made = await at.virtualMcps.create({ ...given, slug: "team", name: "Team", source: API });
    const served = async (id: string, virtualKeyId?: string) =>
      (await at.virtualMcps.serving("team", { owner: { mode: "user", id }, virtualKeyId })) !== undefined;
    await put(at, a, [ann]);
    expect(await served(ann)).toBe(false);
    await at.virtualMcps.update(made.id, () => ({ groupIds: [a] }));
    expect([await served(ann), await served(ann, key.id), await served(bob)]).toEqual([true, true, false]);
    expect((await at.virtualMcps.get(made.id)).groupIds).toEqual(new Set([a]));
    await at.database.transaction((tx) => at.gifts.replace(tx, a, { virtualMcpIds: [] }));
    expect(await served(ann)).toBe(false);
    await at.database.transaction((tx) => at.gifts.replace(tx, a, { virtualMcpIds: [made.id] }));
    expect((await at.gifts.read(at.database.db, [a])).get(a)?.virtualMcps).toMatchObject([{ slug: "team" }]);
    expect(await served(ann)).toBe(true);
    await put(at, a, [], [ann]);
    expect([await served(ann), await served(ann, key.id)]).toEqual([false, false]);
    const unknown = at.database.transaction((tx) => at.gifts.replace(tx, a, { virtualMcpIds: ["none"] }));
    await expect(unknown).rejects.toMatchObject({ code: "unknown_virtual_mcp" });
  });
});

/** A credential for each of them, as far as reconciliation looks at it. */
async function hold(database: Database, userIds: readonly string[], upstreamId: string): Promise<void> {
  await database.insertMany(
    "credentials",
    [
      ...(["id", "kind", "owner_mode", "owner_id", "upstream_id", "account", "status", "orphaned"] as const),
      ...(["generation", "sealed", "created_at", "updated_at"] as const),
    ],
    userIds.map((id) => [`cred_${id}`, "oauth", "user", id, upstreamId, "", "active", 0, 1, "x", 0, 0]),
  );
}
