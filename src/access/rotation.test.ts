import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { Hidden, type Owner } from "../base/index.ts";
import { start } from "./access.suite.ts";
import { reconcileKeyFile } from "./index.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
const unknown = { ok: false, reason: "unknown" };

onBothDatabases("rotating a virtual key", (open, kind) => {
  async function withKey() {
    const parts = await start((await open()).database);
    const { key, value } = await parts.keys.create({ name: "k", configs: [], source: "api" });
    const answer = async (presented: Hidden) => (await parts.keys.authenticate(presented.reveal())).ok;
    return { ...parts, key, first: value, answer };
  }

  it("gives a new value at once; the old one counts until its time, whether it was seen before or not", async () => {
    for (const warm of [true, false]) {
      const { keys, key, first, world, answer, database } = await withKey();
      if (warm) expect(await answer(first)).toBe(true);
      const { value, key: rotated } = await keys.rotate(key.id, 60_000);
      expect(value.reveal()).toMatch(/^sk-bf-[\w-]{43}$/);
      expect(rotated).toMatchObject({
        id: key.id,
        valueTail: value.reveal().slice(-4),
        previousValueExpiresAt: world.now().getTime() + 60_000,
      });
      const [row] = await database.db.selectFrom("virtual_keys").selectAll().execute();
      expect(JSON.stringify(row)).not.toContain(value.reveal());
      expect(await keys.authenticate(first.reveal())).toMatchObject({ ok: true, key: { id: key.id } });
      expect(await answer(value)).toBe(true);
      world.advance(59_999);
      expect(await answer(first)).toBe(true);
      world.advance(1);
      expect(await keys.authenticate(first.reveal())).toEqual(unknown);
      expect(await answer(value)).toBe(true);
    }
  });

  it("a second rotation ends the value before the first at once", async () => {
    const { keys, key, first, answer } = await withKey();
    const second = await keys.rotate(key.id, DAY_MS);
    expect([await answer(first), await answer(second.value)]).toEqual([true, true]);
    const third = await keys.rotate(key.id, DAY_MS);
    expect(await keys.authenticate(first.reveal())).toEqual(unknown);
    expect([await answer(second.value), await answer(third.value)]).toEqual([true, true]);
  });

  it("without grace the old value ends at once", async () => {
    const { keys, key, first, answer } = await withKey();
    expect(await answer(first)).toBe(true);
    const { value, key: rotated } = await keys.rotate(key.id, 0);
    expect(rotated.previousValueExpiresAt).toBeUndefined();
    expect([await answer(first), await answer(value)]).toEqual([false, true]);
  });

  it("two at once: one of the new values is the key's, the other counts for the grace of the second", async () => {
    const { keys, key, first, answer } = await withKey();
    const both = await Promise.all([keys.rotate(key.id, DAY_MS), keys.rotate(key.id, DAY_MS)]);
    expect(await Promise.all(both.map(({ value }) => answer(value)))).toEqual([true, true]);
    expect(await answer(first)).toBe(false);
  });

  it("a key that is switched off, expired or deleted takes both values along", async () => {
    const { keys, key, first, world } = await withKey();
    const { value } = await keys.rotate(key.id, DAY_MS);
    const reasons = async () =>
      Promise.all([first, value].map(async (one) => ({ ...(await keys.authenticate(one.reveal())) })));
    await keys.update(key.id, { isActive: false });
    expect(await reasons()).toMatchObject([{ reason: "inactive" }, { reason: "inactive" }]);
    await keys.update(key.id, { isActive: true, expiresAt: world.now().getTime() + 5 });
    expect(await reasons()).toMatchObject([{ ok: true }, { ok: true }]);
    world.advance(5);
    expect(await reasons()).toMatchObject([{ reason: "expired" }, { reason: "expired" }]);
    await keys.delete(key.id);
    expect(await reasons()).toEqual([unknown, unknown]);
  });

  it("rotating changes nobody's rules or owner", async () => {
    const { keys, access, upstream, user, database } = await withKey();
    const { id: upstreamId } = await upstream("a");
    const userId = await user("u");
    const configs = [{ upstreamId, tools: ["x"] }];
    const { key } = await keys.create({ name: "mine", userId, configs, source: "api" });
    const owner: Owner = { mode: "user", id: userId };
    const before = await access.rulesFor({ owner, virtualKeyId: key.id });
    const { value } = await keys.rotate(key.id, DAY_MS);
    expect(await keys.authenticate(value.reveal())).toMatchObject({ key: { userId, configs } });
    expect(await access.rulesFor({ owner, virtualKeyId: key.id })).toEqual(before);
    const changes = await database.db.selectFrom("changes").selectAll().where("key", "=", key.id).execute();
    expect(changes.map((change) => change.topic)).toEqual(["virtual_key", "virtual_key"]);
  });

  it("a value that the file names is changed in the file, and ends what a rotation left", async () => {
    const { keys, upstreams, world, answer } = await withKey();
    const reconcile = (value?: string) =>
      reconcileKeyFile({ keys, upstreams, log: world.log }, [
        { name: "f", ...(value === undefined ? {} : { value: new Hidden(value) }) },
      ]);
    const named = "sk-bf-in-the-file-0123456789";
    await reconcile(named);
    const key = (await keys.all()).find(({ name }) => name === "f");
    await expect(keys.rotate(key!.id, 0)).rejects.toMatchObject({
      kind: "conflict",
      code: "managed_by_file",
    });
    await reconcile();
    const { value } = await keys.rotate(key!.id, DAY_MS);
    expect([await answer(value), await answer(new Hidden(named))]).toEqual([true, true]);
    await reconcile();
    expect(await answer(value)).toBe(true);
    await reconcile(named);
    expect([await answer(value), await answer(new Hidden(named))]).toEqual([false, true]);
  });

  it("the value that a rotation left is no other key's", async () => {
    const { keys, key, first } = await withKey();
    await keys.rotate(key.id, DAY_MS);
    const taken = keys.create({ name: "other", configs: [], value: first, source: "file" });
    await expect(taken).rejects.toMatchObject({ code: "value_taken" });
  });

  it.runIf(kind === "postgres")(
    "another replica knows both values, and their ends, within a second",
    async () => {
      const { database, url } = await open();
      const here = await start(database);
      const there = await start((await open(url)).database, here);
      const { key, value: first } = await here.keys.create({ name: "k", configs: [], source: "api" });
      const known = async (value: Hidden) => (await there.keys.authenticate(value.reveal())).ok;
      expect(await known(first)).toBe(true);
      const second = await here.keys.rotate(key.id, DAY_MS);
      const third = await here.keys.rotate(key.id, DAY_MS);
      expect(await known(first)).toBe(true);
      await there.database.changes.pull();
      expect(await Promise.all([first, second.value, third.value].map(known))).toEqual([false, true, true]);
      await here.keys.update(key.id, { isActive: false });
      await there.database.changes.pull();
      expect(await Promise.all([second.value, third.value].map(known))).toEqual([false, false]);
      expect((await there.access.rulesFor({ owner: { mode: "vk", id: key.id } })).upstreams.size).toBe(0);
    },
  );
});
