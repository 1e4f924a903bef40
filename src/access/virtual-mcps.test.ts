import { describe, expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { ConfigurationFault } from "../upstreams/index.ts";
import { start } from "./access.suite.ts";
import { type AllowedTools, reconcileVirtualMcpFile, type Subject, type VirtualMcpEntry } from "./index.ts";
import { narrow } from "./narrow.ts";
import type { NewVirtualMcp } from "./virtual-mcps.ts";

const vk = (id: string): Subject => ({ owner: { mode: "vk", id } });
const person = (id: string, virtualKeyId?: string): Subject => ({
  owner: { mode: "user", id },
  virtualKeyId,
});

onBothDatabases("virtual MCPs", (open, kind) => {
  async function setUp() {
    const parts = await start((await open()).database);
    const create = (changes: Partial<NewVirtualMcp> = {}) =>
      parts.virtualMcps.create({
        slug: "team",
        name: "Team",
        upstreams: [],
        virtualKeyIds: [],
        userIds: [],
        source: "api",
        ...changes,
      });
    const key = async (name: string, changes = {}) =>
      (await parts.keys.create({ name, configs: [], source: "api", ...changes })).key;
    return { ...parts, create, key };
  }

  it("serves whom it is attached to, and looks like none to everybody else", async () => {
    const { virtualMcps, create, key, user } = await setUp();
    const [in_, out] = [await key("in"), await key("out")];
    const [ada, bob] = [await user("ada"), await user("bob")];
    const { id } = await create({ virtualKeyIds: [in_.id], userIds: [ada] });
    const served = async (subject: Subject) => (await virtualMcps.serving("team", subject))?.id;
    expect(await served(vk(in_.id))).toBe(id);
    expect(await served(vk(out.id))).toBeUndefined();
    expect(await served(person(ada))).toBe(id);
    expect(await served(person(ada, out.id))).toBe(id);
    expect(await served(person(bob))).toBeUndefined();
    expect(await served({ owner: { mode: "session", id: "anon_x" } })).toBeUndefined();
    expect(await virtualMcps.serving("other", vk(in_.id))).toBeUndefined();
    expect(await virtualMcps.serving("TEAM", vk(in_.id))).toBeUndefined();
    const nobody = await create({ slug: "nobody", name: "Nobody" });
    expect(nobody.virtualKeyIds.size).toBe(0);
    expect(await virtualMcps.serving("nobody", vk(in_.id))).toBeUndefined();
  });

  it("a person reaches it through a usable key of theirs; that key itself needs the attachment", async () => {
    const { virtualMcps, keys, create, key, user, world } = await setUp();
    const ada = await user("ada");
    const mine = await key("mine", { userId: ada, expiresAt: world.now().getTime() + 1000 });
    const other = await key("other", { userId: ada });
    await create({ virtualKeyIds: [mine.id] });
    const served = async (subject: Subject) => (await virtualMcps.serving("team", subject)) !== undefined;
    expect(await served(person(ada, mine.id))).toBe(true);
    expect(await served(person(ada))).toBe(true);
    expect(await served(person(ada, other.id))).toBe(false);
    world.advance(1000);
    expect(await served(person(ada))).toBe(false);
    await keys.update(mine.id, { expiresAt: null });
    expect(await served(person(ada))).toBe(true);
    await keys.update(mine.id, { isActive: false });
    expect(await served(person(ada))).toBe(false);
  });

  it("narrows the caller's rules and never widens them", async () => {
    const { virtualMcps, access, create, key, upstream } = await setUp();
    const [a, b, c, open_] = [
      await upstream("a"),
      await upstream("b"),
      await upstream("c"),
      await upstream("open", { allow_on_all_virtual_keys: true }),
    ];
    const holder = await key("k", {
      configs: [
        { upstreamId: a.id, tools: ["x", "y"] },
        { upstreamId: b.id, tools: ["*"] },
      ],
    });
    await create({
      virtualKeyIds: [holder.id],
      upstreams: [
        { upstreamId: a.id, tools: ["y", "z"] },
        { upstreamId: b.id, tools: ["t"], account: "work" },
        { upstreamId: c.id, tools: ["*"] },
        { upstreamId: open_.id, tools: [] },
      ],
    });
    const virtualMcp = await virtualMcps.serving("team", vk(holder.id));
    const rules = await access.rulesFor({ ...vk(holder.id), virtualMcp });
    expect(rules.upstreams).toEqual(
      new Map([
        [a.id, new Set(["y"])],
        [b.id, new Set(["t"])],
      ]),
    );
    expect(virtualMcp!.accounts).toEqual(new Map([[b.id, "work"]]));
    expect((await access.rulesFor(vk(holder.id))).upstreams.size).toBe(3);
  });

  it("answers from memory: a warm question reads nothing", async () => {
    const { virtualMcps, access, create, key, database, user } = await setUp();
    const holder = await key("k");
    const ada = await user("ada");
    const own = await key("own", { userId: ada });
    await create({ virtualKeyIds: [holder.id, own.id] });
    const subjects = [vk(holder.id), person(ada), vk("unknown")];
    const ask = async () => {
      const served = await Promise.all(subjects.map((subject) => virtualMcps.serving("team", subject)));
      return [
        await virtualMcps.serving("none", vk(holder.id)),
        await access.rulesFor({ ...vk(holder.id), virtualMcp: served[0] }),
      ];
    };
    await Promise.all(subjects.map((subject) => virtualMcps.serving("team", subject)));
    const warm = await ask();
    // Inside a transaction the outer handle throws, so nothing can have been read.
    const again = await database.transaction(ask);
    expect(again).toEqual(warm);
    expect(again[1]).toBe(warm[1]);
  });

  it("disabled or deleted it stops at once; changes count at once", async () => {
    const { virtualMcps, create, key } = await setUp();
    const [one, two] = [await key("1"), await key("2")];
    const { id } = await create({ virtualKeyIds: [one.id] });
    const ended: string[] = [];
    virtualMcps.listeners.push({ deleted: async (_tx, { slug }) => void ended.push(slug) });
    const served = async ({ id: keyId }: { id: string }) =>
      (await virtualMcps.serving("team", vk(keyId))) !== undefined;
    expect([await served(one), await served(two)]).toEqual([true, false]);
    await virtualMcps.update(id, () => ({ virtualKeyIds: [two.id] }));
    expect([await served(one), await served(two)]).toEqual([false, true]);
    await virtualMcps.update(id, () => ({ disabled: true }));
    expect(await served(two)).toBe(false);
    await virtualMcps.update(id, () => ({ disabled: false }));
    expect(await served(two)).toBe(true);
    expect(ended).toEqual([]);
    await virtualMcps.delete(id);
    expect(await served(two)).toBe(false);
    expect(ended).toEqual(["team"]);
    await expect(virtualMcps.get(id)).rejects.toMatchObject({ code: "virtual_mcp_not_found" });
    await expect(virtualMcps.delete(id)).rejects.toMatchObject({ kind: "not_found" });
  });

  it("a failing listener keeps everything as it was", async () => {
    const { virtualMcps, create, key } = await setUp();
    const { id } = await create({ virtualKeyIds: [(await key("k")).id] });
    virtualMcps.listeners.push({ deleted: () => Promise.reject(new Error("down")) });
    await expect(virtualMcps.delete(id)).rejects.toThrow("down");
    expect((await virtualMcps.get(id)).virtualKeyIds.size).toBe(1);
  });

  it("a store that does not answer is asked again next time", async () => {
    const { virtualMcps, create, key, database } = await setUp();
    const holder = await key("k");
    await create({ virtualKeyIds: [holder.id] });
    // Inside a transaction the outer handle throws: the reading fails.
    await expect(database.transaction(() => virtualMcps.serving("team", vk(holder.id)))).rejects.toThrow();
    expect(await virtualMcps.serving("team", vk(holder.id))).toBeDefined();
  });

  it("slugs are unique whatever their case, names as they are, also for two at once", async () => {
    const { create } = await setUp();
    await create();
    await expect(create({ slug: "TEAM", name: "x" })).rejects.toMatchObject({
      code: "slug_taken",
      param: "slug",
    });
    await expect(create({ slug: "x" })).rejects.toMatchObject({ code: "name_taken", param: "name" });
    const slugs = await Promise.allSettled(["a", "b"].map((name) => create({ slug: "race", name })));
    expect(slugs.map((one) => one.status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(slugs.find((one) => one.status === "rejected")?.reason).toMatchObject({ code: "slug_taken" });
    const names = await Promise.allSettled(["n1", "n2"].map((slug) => create({ slug, name: "race" })));
    expect(names.find((one) => one.status === "rejected")?.reason).toMatchObject({ code: "name_taken" });
  });

  it("refuses keys and users that do not exist, and lets go of those that are deleted", async () => {
    const { virtualMcps, keys, upstreams, database, create, key, user, upstream } = await setUp();
    await expect(create({ virtualKeyIds: ["vk_none"] })).rejects.toMatchObject({
      code: "unknown_virtual_key",
    });
    await expect(create({ userIds: ["nobody"] })).rejects.toMatchObject({ code: "unknown_user" });
    const [holder, ada, { id: upstreamId }] = [await key("k"), await user("ada"), await upstream("a")];
    const { id } = await create({
      virtualKeyIds: [holder.id],
      userIds: [ada],
      upstreams: [{ upstreamId, tools: ["*"] }],
    });
    await keys.delete(holder.id);
    await upstreams.delete(upstreamId);
    await database.db.deleteFrom("users").where("id", "=", ada).execute();
    expect(await virtualMcps.get(id)).toMatchObject({
      virtualKeyIds: new Set(),
      userIds: new Set(),
      tools: [],
    });
  });

  it("lists by part of slug or name, without wildcards, in pages", async () => {
    const { virtualMcps, create, world } = await setUp();
    for (const [slug, name] of [
      ["ops", "Operations"],
      ["a_b", "Second"],
      ["third", "OPS too"],
    ] as const) {
      await create({ slug, name });
      world.advance(1);
    }
    const slugs = async (search: string) =>
      (await virtualMcps.list({ search })).virtualMcps.map(({ slug }) => slug);
    expect(await slugs("ops")).toEqual(["ops", "third"]);
    expect(await slugs("_")).toEqual(["a_b"]);
    expect(await slugs("%")).toEqual([]);
    const page = await virtualMcps.list({ limit: 1, offset: 1 });
    expect(page).toMatchObject({ total: 3, virtualMcps: [{ slug: "a_b" }] });
  });

  it("10,000 attachments are held and answered from memory", async () => {
    const { virtualMcps, database, create, key } = await setUp();
    const holder = await key("k");
    const { id } = await create({ virtualKeyIds: [holder.id] });
    const users = Array.from({ length: 10_000 }, (_, index) => `u${index}`);
    for (let from = 0; from < users.length; from += 1000) {
      const batch = users.slice(from, from + 1000);
      await database.db
        .insertInto("users")
        .values(
          batch.map((one) => ({
            id: one,
            email: `${one}@a.example`,
            name: one,
            role: "member" as const,
            is_active: 1,
            created_at: 0,
            updated_at: 0,
            password_hash: null,
          })),
        )
        .execute();
    }
    await virtualMcps.update(id, () => ({ userIds: users }));
    expect((await virtualMcps.serving("team", person("u9999")))?.id).toBe(id);
    expect(await virtualMcps.serving("team", person("u10000"))).toBeUndefined();
  });

  it.runIf(kind === "postgres")("another replica follows within a second", async () => {
    const { database, url } = await open();
    const here = await start(database);
    const there = await start((await open(url)).database, here);
    const { key } = await here.keys.create({ name: "k", configs: [], source: "api" });
    const { id } = await here.virtualMcps.create({
      slug: "team",
      name: "Team",
      upstreams: [],
      virtualKeyIds: [key.id],
      userIds: [],
      source: "api",
    });
    const served = async () => (await there.virtualMcps.serving("team", vk(key.id))) !== undefined;
    expect(await served()).toBe(true);
    await here.virtualMcps.update(id, () => ({ disabled: true }));
    expect(await served()).toBe(true);
    await there.database.changes.pull();
    expect(await served()).toBe(false);
    await here.virtualMcps.update(id, () => ({ disabled: false }));
    await there.database.changes.pull();
    expect(await served()).toBe(true);
    await here.virtualMcps.delete(id);
    await there.database.changes.pull();
    expect(await served()).toBe(false);
  });

  it("the file is reconciled by name: made, changed, switched off and on again, API ones left alone", async () => {
    const { virtualMcps, keys, upstreams, database, world, create, key, user, upstream } = await setUp();
    await upstream("docs");
    await create({ slug: "api", name: "By API" });
    const [ci, ada] = [await key("ci"), await user("ada")];
    const reconcile = (entries: VirtualMcpEntry[]) =>
      reconcileVirtualMcpFile({ virtualMcps, upstreams, database, log: world.log }, entries);
    const entry: VirtualMcpEntry = {
      name: "Ops & On-call",
      description: "d",
      tools: [{ mcp_client_name: "docs", tools_to_execute: ["search"] }],
      accounts: { docs: "work" },
      virtual_key_names: ["ci", "gone"],
      user_emails: ["ADA@a.example", "nobody@a.example"],
    };
    const stored = async () =>
      (await virtualMcps.list({})).virtualMcps.filter((one) => one.source === "file");
    await reconcile([entry]);
    const [made] = await stored();
    expect(made).toMatchObject({
      slug: "ops-on-call",
      disabled: false,
      tools: [{ tools: ["search"] }],
      virtualKeyIds: new Set([ci.id]),
      userIds: new Set([ada]),
    });
    expect([...made!.accounts.values()]).toEqual(["work"]);
    await reconcile([{ ...entry, description: "e", virtual_key_names: [], accounts: {} }]);
    expect(await stored()).toMatchObject([
      { id: made!.id, description: "e", virtualKeyIds: new Set(), accounts: new Map() },
    ]);
    await reconcile([]);
    expect(await stored()).toMatchObject([{ id: made!.id, disabled: true }]);
    await reconcile([entry]);
    expect(await stored()).toMatchObject([{ id: made!.id, disabled: false }]);
    expect((await virtualMcps.list({ search: "By API" })).virtualMcps[0]).toMatchObject({ disabled: false });
    expect((await keys.all()).length).toBe(1);

    const refused: [VirtualMcpEntry[], RegExp][] = [
      [[{ name: "By API" }], /made through the API/],
      [[{ name: "other", slug: "API" }], /has the slug "API"/],
      [[{ ...entry, slug: "new" }], /never changes/],
      [[{ name: "a" }, { name: "b", slug: "A" }], /twice/],
      [[{ name: "日本" }], /Give one/],
      [[{ name: "x", tools: [{ mcp_client_name: "none" }] }], /tools\.0\.mcp_client_name/],
      [[{ name: "x", accounts: { docs: "work" } }], /accounts/],
    ];
    for (const [entries, message] of refused) {
      const failure = await reconcile(
        [{ ...entry }, ...entries].slice(entries[0]!.name === entry.name ? 1 : 0),
      ).catch((error: unknown) => error);
      expect(failure, String(message)).toBeInstanceOf(ConfigurationFault);
      expect((failure as Error).message).toMatch(message);
    }
    expect(await stored()).toHaveLength(1);
  });
});

describe("narrow", () => {
  it("is what both allow, whichever way round", () => {
    const rules = {
      upstreams: new Map<string, AllowedTools>([
        ["a", "*"],
        ["b", new Set(["x"])],
        ["c", new Set(["x"])],
      ]),
    };
    const allowed = new Map<string, AllowedTools>([
      ["a", new Set(["y"])],
      ["b", "*"],
      ["c", new Set(["z"])],
      ["d", "*"],
    ]);
    expect(narrow(rules, { allowed }).upstreams).toEqual(
      new Map<string, AllowedTools>([
        ["a", new Set(["y"])],
        ["b", new Set(["x"])],
        ["c", new Set()],
      ]),
    );
    expect(narrow({ upstreams: new Map() }, { allowed }).upstreams.size).toBe(0);
  });
});
