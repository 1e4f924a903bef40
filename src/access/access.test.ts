import { describe, expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { watchedLog } from "../../test/support/leavings.ts";
import { Hidden } from "../base/index.ts";
import { ConfigurationFault, type Upstream, type Upstreams } from "../upstreams/index.ts";
import { start } from "./access.suite.ts";
import { decide, type KeyEntry, keyConfigs, keyEntry, reconcileKeyFile } from "./index.ts";

onBothDatabases("virtual keys", (open) => {
  const setUp = async () => start((await open()).database);

  it("shows the value once, stores only its hash and its last four characters", async () => {
    const { keys, database } = await setUp();
    const { key, value } = await keys.create({ name: "k", configs: [], source: "api" });
    expect(value.reveal()).toMatch(/^sk-bf-[\w-]{43}$/);
    const [row] = await database.db.selectFrom("virtual_keys").selectAll().execute();
    expect(JSON.stringify(row)).not.toContain(value.reveal());
    expect(key.valueTail).toBe(value.reveal().slice(-4));
    expect(await keys.authenticate(value.reveal())).toMatchObject({ ok: true, key: { id: key.id } });
    expect(await keys.authenticate(`${value.reveal().slice(0, -1)}~`)).toEqual({
      ok: false,
      reason: "unknown",
    });
    expect(await keys.authenticate("")).toEqual({ ok: false, reason: "unknown" });
  });

  it("switched off, expired or deleted, it stops at once", async () => {
    const { keys, world } = await setUp();
    const expiresAt = world.now().getTime() + 1000;
    const { key, value } = await keys.create({ name: "k", expiresAt, configs: [], source: "api" });
    expect((await keys.authenticate(value.reveal())).ok).toBe(true);
    world.advance(1000);
    expect(await keys.authenticate(value.reveal())).toEqual({ ok: false, reason: "expired" });
    await keys.update(key.id, { expiresAt: null, isActive: false });
    expect(await keys.authenticate(value.reveal())).toEqual({ ok: false, reason: "inactive" });
    await keys.update(key.id, { isActive: true });
    expect((await keys.authenticate(value.reveal())).ok).toBe(true);
    await keys.delete(key.id);
    expect(await keys.authenticate(value.reveal())).toEqual({ ok: false, reason: "unknown" });
    expect(await keys.check(key.id)).toEqual({ ok: false, reason: "unknown" });
  });

  it("refuses a taken name, also for two at once, and a user that does not exist", async () => {
    const { keys } = await setUp();
    const two = await Promise.allSettled(
      ["a", "b"].map((description) => keys.create({ name: "k", description, configs: [], source: "api" })),
    );
    expect(two.map((result) => result.status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(two.find((result) => result.status === "rejected")?.reason).toMatchObject({ code: "name_taken" });
    const orphan = keys.create({ name: "o", userId: "nobody", configs: [], source: "api" });
    await expect(orphan).rejects.toMatchObject({ code: "unknown_user", param: "user_id", kind: "invalid" });
    expect(await keys.list({})).toMatchObject({ total: 1 });
  });

  it("lists by part of the name, without wildcards, in pages", async () => {
    const { keys, world } = await setUp();
    for (const name of ["Alpha", "al_ef", "beta"]) {
      await keys.create({ name, configs: [], source: "api" });
      world.advance(1);
    }
    const names = async (search: string) => (await keys.list({ search })).keys.map((key) => key.name);
    expect(await names("AL")).toEqual(["Alpha", "al_ef"]);
    expect(await names("l_e")).toEqual(["al_ef"]);
    expect(await names("%")).toEqual([]);
    const page = await keys.list({ limit: 1, offset: 1 });
    expect(page).toMatchObject({ total: 3, keys: [{ name: "al_ef" }] });
  });

  it("deletes in one transaction with what its listeners do", async () => {
    const { keys } = await setUp();
    const { key, value } = await keys.create({ name: "k", configs: [], source: "api" });
    keys.listeners.push({ deleted: () => Promise.reject(new Error("store failure")) });
    await expect(keys.delete(key.id)).rejects.toThrow("store failure");
    expect((await keys.authenticate(value.reveal())).ok).toBe(true);
  });

  it("follows the file: value kept or replaced, gone ones switched off, the API's left alone", async () => {
    const { keys, upstreams, upstream } = await setUp();
    await upstream("docs");
    const value = new Hidden("sk-bf-from-the-file-0123456789");
    const entry: KeyEntry = { name: "f", value, mcp_configs: [{ mcp_client_name: "docs" }] };
    const parts = { keys, upstreams, log: watchedLog() };
    await keys.create({ name: "api", configs: [], source: "api" });
    await reconcileKeyFile(parts, [entry, { name: "no-value" }]);
    const answer = await keys.authenticate(value.reveal());
    expect(answer).toMatchObject({ ok: true, key: { source: "file", configs: [{ tools: ["*"] }] } });
    await reconcileKeyFile(parts, [{ ...entry, value: new Hidden("sk-bf-another-0123456789") }]);
    expect(await keys.authenticate(value.reveal())).toEqual({ ok: false, reason: "unknown" });
    expect(await keys.authenticate("sk-bf-another-0123456789")).toMatchObject({ ok: true });
    const states = (await keys.all()).map((key) => [key.name, key.isActive]);
    expect(Object.fromEntries(states)).toEqual({ api: true, f: true, "no-value": false });
    for (const bad of [
      [{ name: "api" }],
      [entry, entry],
      [{ ...entry, mcp_configs: [{ mcp_client_name: "x" }] }],
    ])
      await expect(reconcileKeyFile(parts, bad)).rejects.toThrow(ConfigurationFault);
  });
});

onBothDatabases("access", (open) => {
  const setUp = async () => start((await open()).database);
  const names = (rules: { upstreams: ReadonlyMap<string, unknown> }, upstreams: Upstreams) =>
    [...rules.upstreams.keys()].map((id) => upstreams.find(id)?.name).sort();

  it("of a key: its own rows and what is on all keys; its own row wins, also when it narrows", async () => {
    const { keys, access, upstreams, upstream } = await setUp();
    const own = await upstream("own");
    const all = await upstream("all", { allow_on_all_virtual_keys: true });
    const narrowed = await upstream("narrowed", { allow_on_all_virtual_keys: true });
    await upstream("foreign");
    const configs = [
      { upstreamId: own.id, tools: ["*"] },
      { upstreamId: narrowed.id, tools: ["read"] },
    ];
    const { key } = await keys.create({ name: "k", configs, source: "api" });
    const rules = await access.rulesFor({ owner: { mode: "vk", id: key.id } });
    expect(names(rules, upstreams)).toEqual(["all", "narrowed", "own"]);
    expect(decide(rules, narrowed, "read")).toBe(true);
    expect(decide(rules, narrowed, "write")).toBe(false);
    expect(decide(rules, all, "anything")).toBe(true);
    await keys.update(key.id, { configs: [{ upstreamId: all.id, tools: [] }] });
    const later = await access.rulesFor({ owner: { mode: "vk", id: key.id } });
    expect(names(later, upstreams)).toEqual(["narrowed"]);
  });

  it("of a user: own keys together; of a session: what is on all keys; of a key that is off: nothing", async () => {
    const { keys, access, upstreams, upstream, user, world } = await setUp();
    const [a, b] = [await upstream("a"), await upstream("b")];
    await upstream("all", { allow_on_all_virtual_keys: true });
    const userId = await user("u");
    const expiresAt = world.now().getTime() + 1000;
    const first = await keys.create({
      name: "1",
      userId,
      configs: [{ upstreamId: a.id, tools: ["x"] }],
      source: "api",
    });
    await keys.create({
      name: "2",
      userId,
      expiresAt,
      configs: [{ upstreamId: b.id, tools: ["*"] }],
      source: "api",
    });
    const owner = { mode: "user", id: userId } as const;
    expect(names(await access.rulesFor({ owner }), upstreams)).toEqual(["a", "all", "b"]);
    world.advance(1000);
    expect(names(await access.rulesFor({ owner }), upstreams)).toEqual(["a", "all"]);
    const byKey = await access.rulesFor({ owner, virtualKeyId: first.key.id });
    expect(names(byKey, upstreams)).toEqual(["a", "all"]);
    expect(names(await access.rulesFor({ owner: { mode: "session", id: "s" } }), upstreams)).toEqual(["all"]);
    expect(names(await access.rulesFor({ owner: { mode: "flow", id: "f" } }), upstreams)).toEqual([]);
    await keys.update(first.key.id, { isActive: false });
    expect(names(await access.rulesFor({ owner, virtualKeyId: first.key.id }), upstreams)).toEqual([]);
    expect(names(await access.rulesFor({ owner }), upstreams)).toEqual(["all"]);
  });

  it("answers from memory: a warm question reads nothing", async () => {
    const { keys, access, database, upstream } = await setUp();
    const { id } = await upstream("own");
    const { key, value } = await keys.create({
      name: "k",
      configs: [{ upstreamId: id, tools: ["*"] }],
      source: "api",
    });
    const subject = { owner: { mode: "vk", id: key.id } as const };
    const ask = async () => [await keys.authenticate(value.reveal()), await access.rulesFor(subject)];
    const warm = await ask();
    // Inside a transaction the outer handle throws, so nothing can have been read.
    const [again] = await Promise.all([database.transaction(ask)]);
    expect(again).toEqual(warm);
  });

  it("tells, in the transaction, whose access changed: keys, users and holders of an upstream", async () => {
    const { keys, told, upstream, upstreams, user, database } = await setUp();
    const [a, b] = [await upstream("a"), await upstream("b")];
    const userId = await user("u");
    const { key } = await keys.create({
      name: "k",
      configs: [{ upstreamId: a.id, tools: ["*"] }],
      source: "api",
    });
    const mine = await keys.create({
      name: "m",
      userId,
      configs: [{ upstreamId: b.id, tools: ["*"] }],
      source: "api",
    });
    expect(told.splice(0)).toEqual([
      { owner: { mode: "vk", id: key.id }, allowed: [a.id] },
      { owner: { mode: "user", id: userId }, allowed: [b.id] },
    ]);
    await keys.update(key.id, { configs: [] });
    await keys.delete(mine.key.id);
    expect(told.splice(0)).toEqual([
      { owner: { mode: "vk", id: key.id }, allowed: [] },
      { owner: { mode: "user", id: userId }, allowed: [] },
    ]);
    await database.db
      .insertInto("credentials")
      .values({
        id: "cred_1",
        kind: "oauth",
        owner_mode: "vk",
        owner_id: key.id,
        upstream_id: a.id,
        account: "",
        status: "active",
        orphaned: 1,
        generation: 1,
        sealed: Buffer.from("x"),
        created_at: 0,
        updated_at: 0,
      })
      .execute();
    await upstreams.update(a.id, { allow_on_all_virtual_keys: true });
    expect(told).toEqual([{ owner: { mode: "vk", id: key.id }, allowed: [a.id] }]);
  });

  it("vk_configs of an upstream: seen and replaced from its side, other upstreams of the keys stay", async () => {
    const { keys, database, upstream } = await setUp();
    const [a, b] = [await upstream("a"), await upstream("b")];
    const configs = [a, b].map(({ id }) => ({ upstreamId: id, tools: ["*"] }));
    const first = await keys.create({ name: "1", configs, source: "api" });
    const second = await keys.create({ name: "2", configs: [], source: "api" });
    const view = keyConfigs({ database, keys });
    const next = [{ virtual_key_id: second.key.id, tools_to_execute: ["t"] }];
    await database.transaction((tx) => view.replace(tx, a.id, next));
    expect((await view.read([a.id, b.id])).get(a.id)).toEqual(next);
    expect((await keys.get(first.key.id)).configs).toEqual([{ upstreamId: b.id, tools: ["*"] }]);
    const unknown = database.transaction((tx) => view.replace(tx, a.id, [{ virtual_key_id: "vk_none" }]));
    await expect(unknown).rejects.toMatchObject({ code: "unknown_virtual_key", param: "vk_configs" });
  });

  it("a deleted upstream leaves no rule behind", async () => {
    const { keys, access, upstreams, upstream } = await setUp();
    const { id } = await upstream("a");
    const { key } = await keys.create({
      name: "k",
      configs: [{ upstreamId: id, tools: ["*"] }],
      source: "api",
    });
    const subject = { owner: { mode: "vk", id: key.id } as const };
    expect((await access.rulesFor(subject)).upstreams.size).toBe(1);
    await upstreams.delete(id);
    expect((await access.rulesFor(subject)).upstreams.size).toBe(0);
    expect((await keys.find(key.id))?.configs).toEqual([]);
  });
});

describe("decide", () => {
  const upstream = { id: "u", disabled: false, toolsToExecute: ["a", "b"] } as unknown as Upstream;
  const rules = (tools: "*" | Set<string>) => ({ upstreams: new Map([["u", tools]]) });

  it("is the upstream's own list and the rule together", () => {
    expect(decide(rules("*"), upstream, "a")).toBe(true);
    expect(decide(rules("*"), upstream, "c")).toBe(false);
    expect(decide(rules(new Set(["a", "c"])), upstream, "c")).toBe(false);
    expect(decide(rules(new Set(["a"])), upstream, "b")).toBe(false);
    expect(decide(rules("*"), { ...upstream, toolsToExecute: [] }, "a")).toBe(false);
  });

  it("refuses a disabled upstream and one without a rule", () => {
    expect(decide(rules("*"), { ...upstream, disabled: true })).toBe(false);
    expect(decide({ upstreams: new Map() }, upstream)).toBe(false);
  });
});

it("a value in the file is a virtual key's", () => {
  for (const value of ["", "secret-0123456789012345", "sk-bf-short", "sk-bf-with space 0123456789"])
    expect(keyEntry.safeParse({ name: "k", value }).success).toBe(false);
});
