import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { Seal } from "../base/index.ts";
import { WrongKey } from "../db/index.ts";
import { newKey, Replica } from "./keys.suite.ts";
import { overviewOf, removable, verifyAll } from "./overview.ts";

const layoutOf = (sealed: Uint8Array) => sealed[0];

onBothDatabases("keys", (open) => {
  it("a new database seals with a data key from its first start, and opens after a restart", async () => {
    const { database, url } = await open();
    const key = newKey();
    const one = await Replica.start(database, { direct: [key] });
    await one.write("a", "secret");
    expect(layoutOf(await one.ciphertext("a"))).toBe(2);
    const again = await Replica.start(url === "sqlite::memory:" ? database : (await open(url)).database, {
      direct: [key],
    });
    expect(await again.read("a")).toBe("secret");
    expect((await overviewOf(again)).data.map(({ state }) => state).toSorted()).toEqual(["active", "next"]);
  });

  it("replicas that start at once on a new database share its keys", async () => {
    const { database, url } = await open();
    const key = newKey();
    const others = url === "sqlite::memory:" ? database : (await open(url)).database;
    const [one, two] = await Promise.all([
      Replica.start(database, { direct: [key] }),
      Replica.start(others, { direct: [key] }),
    ]);
    await one.write("a", "one");
    await two.write("b", "two");
    expect([await two.read("a"), await one.read("b")]).toEqual(["one", "two"]);
    expect((await overviewOf(one)).data).toHaveLength(2);
  });

  it("ST-05 another key stops the start, before anything is written", async () => {
    const { database } = await open();
    await Replica.start(database, { direct: [newKey()] });
    const before = await database.db.selectFrom("data_keys").selectAll().execute();
    const wrong = Replica.start(database, { direct: [newKey()] });
    await expect(wrong).rejects.toThrow(WrongKey);
    await expect(wrong).rejects.toThrow(
      /: 2 of its 2 data keys, which seal 1 values, are wrapped by [0-9a-f]{16} \(local\)/,
    );
    expect(await database.db.selectFrom("data_keys").selectAll().execute()).toEqual(before);
  });

  it("a changed key-encryption key costs the data keys alone, and then the old one may go", async () => {
    const { database } = await open();
    const [old, fresh] = [newKey(), newKey()];
    const before = await Replica.start(database, { direct: [old] });
    await before.write("a", "secret");
    const sealed = await before.ciphertext("a");
    const both = await Replica.start(database, { direct: [fresh, old] });
    expect(removable(await overviewOf(both))).toEqual([]);
    // Too early.
    await expect(Replica.start(database, { direct: [fresh] })).rejects.toThrow("postern keys rotate");
    expect(await both.rotate()).toMatchObject({ rewrapped: 2, resealed: 0, activated: false });
    expect(removable(await overviewOf(both))).toMatchObject([
      { id: both.providers[0]!.older[0], dataKeys: 0 },
    ]);
    expect(Buffer.from(await both.ciphertext("a")).equals(sealed)).toBe(true);
    const after = await Replica.start(database, { direct: [fresh] });
    expect(await after.read("a")).toBe("secret");
    await expect(Replica.start(database, { direct: [old] })).rejects.toThrow(WrongKey);
  });

  it("a new data key seals everything anew; a replica that serves meanwhile never meets what it cannot open", async () => {
    const { database, url } = await open();
    const key = newKey();
    const one = await Replica.start(database, { direct: [key] });
    const serving =
      url === "sqlite::memory:" ? one : await Replica.start((await open(url)).database, { direct: [key] });
    for (let i = 0; i < 450; i++) await one.write(`id${i}`, `secret ${i}`);
    const held = one.seal.seal("held by a client", ["client_id"]);
    const alike = one.seal.sealAlike("a task", ["task"]);
    const old = one.seal.keyId;
    const rotated = await one.rotate({ newDataKey: true });
    expect(rotated).toMatchObject({ activated: true, resealed: 451, unreadable: 0 });
    expect(one.seal.keyId).not.toBe(old);
    // It has not heard of anything, and knew the next key all along.
    expect(await serving.read("id449")).toBe("secret 449");
    // What clients hold goes on opening, and what must stay the same is the same.
    expect(one.seal.openText(held, ["client_id"])).toBe("held by a client");
    expect(one.seal.sealAlike("a task", ["task"]).equals(alike)).toBe(true);
    expect(await verifyAll(one, () => {})).toEqual({ opened: 451, unreadable: new Map() });
    const { data } = await overviewOf(one);
    expect(data.map(({ state, values }) => [state, values]).toSorted()).toEqual([
      ["active", 451],
      ["next", 0],
      ["retired", 0],
    ]);
  });

  it("a replica that slept through two rotations finds the new key when it meets it", async () => {
    const { database, url } = await open();
    const key = newKey();
    const one = await Replica.start(database, { direct: [key] });
    const sleeping = await Replica.start(url === "sqlite::memory:" ? database : (await open(url)).database, {
      direct: [key],
    });
    await one.write("a", "secret");
    for (let i = 0; i < 2; i++)
      expect(await one.rotate({ newDataKey: true })).toMatchObject({ activated: true });
    await one.write("a", "written since");
    if (url !== "sqlite::memory:") {
      await expect(sleeping.read("a")).rejects.toMatchObject({ reason: "unknown_key" });
      expect(await sleeping.seal.renew()).toBe(true);
    }
    expect(await sleeping.read("a")).toBe("written since");
    expect(await sleeping.seal.renew()).toBe(false);
  });

  it("a database of an older version goes on as it was until the first rotation, and opens without the old key after it", async () => {
    const { database } = await open();
    const [second, first] = [newKey(), newKey()];
    const older = await Replica.older(database, [second, first]);
    await older.write("a", "secret");
    const held = older.seal.seal("held by a client", ["client_id"]);
    const firstHeld = new Seal([first], randomBytes).seal("long ago", ["client_id"]);
    const alike = older.seal.sealAlike("a task", ["task"]);
    const now = await Replica.start(database, { direct: [second, first] });
    await now.write("b", "new");
    expect(layoutOf(await now.ciphertext("b"))).toBe(1);
    expect(await older.read("b")).toBe("new");
    expect(now.seal.sealAlike("a task", ["task"]).equals(alike)).toBe(true);

    expect(await now.rotate()).toMatchObject({ activated: true, resealed: 3 });
    expect(layoutOf(await now.ciphertext("a"))).toBe(2);
    const third = newKey();
    const both = await Replica.start(database, { direct: [third, second, first] });
    await both.rotate();
    expect(removable(await overviewOf(both))).toHaveLength(2);
    const last = await Replica.start(database, { direct: [third] });
    expect([await last.read("a"), await last.read("b")]).toEqual(["secret", "new"]);
    expect(last.seal.openText(held, ["client_id"])).toBe("held by a client");
    expect(last.seal.openText(firstHeld, ["client_id"])).toBe("long ago");
    expect(last.seal.sealAlike("a task", ["task"]).equals(alike)).toBe(true);
  });

  it("an older database does not start without its key, and says which it is", async () => {
    const { database } = await open();
    const older = await Replica.older(database, [newKey()]);
    const wrong = Replica.start(database, { direct: [newKey()] });
    await expect(wrong).rejects.toThrow(`sealed with the key ${older.seal.keyId}`);
    expect(await database.db.selectFrom("data_keys").selectAll().execute()).toEqual([]);
  });

  it("ST-07 interrupted anywhere it goes on; two at once do no harm; a write meanwhile is never lost", async () => {
    const { database } = await open();
    const key = newKey();
    const one = await Replica.start(database, { direct: [key] });
    for (let i = 0; i < 450; i++) await one.write(`id${String(i).padStart(3, "0")}`, `secret ${i}`);
    const die = (at: string, times: number) => {
      let left = times;
      return (point: string) => {
        if (point === at && --left === 0) throw new Error("killed");
      };
    };
    await expect(one.rotate({ newDataKey: true }, die("keys.3.activated", 1))).rejects.toThrow("killed");
    const two = await Replica.start(database, { direct: [key] });
    await expect(two.rotate({ newDataKey: true }, die("keys.4.batch_resealed", 2))).rejects.toThrow("killed");
    const [a, b] = await Promise.all([two.rotate(), one.rotate(), one.write("id449", "renewed")]);
    expect(a.activated || b.activated).toBe(false);
    expect(await one.read("id449")).toBe("renewed");
    expect(await verifyAll(two, () => {})).toMatchObject({ opened: 451, unreadable: new Map() });
    expect(await two.rotate()).toMatchObject({ resealed: 0 });
    expect((await overviewOf(two)).data.find(({ state }) => state === "active")).toMatchObject({
      values: 451,
    });
  });

  it("a value that does not open is counted and left; a new data key is still to be had", async () => {
    const { database } = await open();
    const one = await Replica.start(database, { direct: [newKey()] });
    await one.write("a", "secret");
    const sealed = Buffer.from(await one.ciphertext("a"));
    sealed[sealed.length - 1]! ^= 1;
    await one.database.db.updateTable("outbox").set({ sealed }).where("id", "=", "a").execute();
    expect(await one.rotate({ newDataKey: true })).toMatchObject({
      activated: true,
      unreadable: 1,
      resealed: 1,
    });
    expect(await one.rotate({ newDataKey: true })).toMatchObject({
      activated: true,
      unreadable: 1,
      resealed: 1,
    });
    expect(Buffer.from(await one.ciphertext("a")).equals(sealed)).toBe(true);
    expect((await verifyAll(one, () => {})).unreadable).toEqual(new Map([["outbox", 1]]));
  });
});
