import { expect, it, vi } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testWorld } from "../../test/support/world.ts";
import { Seal } from "../base/index.ts";
import { type Change, Outbox, openKeyedHash, WrongKey } from "./index.ts";

onBothDatabases("database", (open, kind) => {
  it("a query on the outer handle inside a transaction is refused instead of waiting for ever", async () => {
    const { database } = await open();
    const inside = database.transaction(() => database.db.selectFrom("users").select("id").execute());
    await expect(inside).rejects.toThrow("use the tx");
  });

  it("rolls back everything when the work throws, and tells nobody of its changes", async () => {
    const { database } = await open();
    const heard: Change[] = [];
    database.changes.listen((change) => heard.push(change));
    const failing = database.transaction(async (tx) => {
      await database.changes.note(tx, "grant", "g1", 0);
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    expect(heard).toEqual([]);
    expect(await database.db.selectFrom("changes").selectAll().execute()).toEqual([]);
  });

  it("tells listeners of this process right after the commit", async () => {
    const { database } = await open();
    const heard: Change[] = [];
    database.changes.listen((change) => heard.push(change));
    await database.transaction((tx) => database.changes.note(tx, "grant", "g1", 0));
    expect(heard).toEqual([{ topic: "grant", key: "g1" }]);
  });

  const onPostgres = kind === "postgres" ? it : () => {};
  onPostgres("tells other replicas, in order and without gaps", async () => {
    const { database: first, url } = await open();
    const { database: second } = await open(url);
    const heard: string[] = [];
    second.changes.listen(({ key }) => heard.push(key));
    await Promise.all(
      Array.from({ length: 30 }, (_, index) =>
        first.transaction((tx) => first.changes.note(tx, "grant", `g${index}`, 0)),
      ),
    );
    await second.changes.pull();
    expect(heard.toSorted()).toEqual(Array.from({ length: 30 }, (_, index) => `g${index}`).toSorted());
  });

  onPostgres("a replica that is still starting misses nothing: it follows from where it opened", async () => {
    const { database: first, url } = await open();
    const { database: starting } = await open(url);
    const heard: string[] = [];
    starting.changes.listen(({ key }) => heard.push(key));
    await first.transaction((tx) => first.changes.note(tx, "grant", "revoked meanwhile", 0));
    starting.changes.follow();
    await vi.waitFor(() => expect(heard).toEqual(["revoked meanwhile"]), { timeout: 5_000 });
  });

  it("opens its hash key with the right encryption key only (ST-05)", async () => {
    const world = testWorld();
    const { database } = await open();
    const key = world.random(32);
    const hash = await openKeyedHash(database, new Seal([key], world.random), world);
    const again = await openKeyedHash(database, new Seal([world.random(32), key], world.random), world);
    expect(again.of("code", "x")).toBe(hash.of("code", "x"));
    expect(hash.of("token", "x")).not.toBe(hash.of("code", "x"));
    await expect(openKeyedHash(database, new Seal([world.random(32)], world.random), world)).rejects.toThrow(
      WrongKey,
    );
  });
});

onBothDatabases("outbox", (open) => {
  it("delivers once, retries with back-off, and gives up after a day (R29)", async () => {
    const world = testWorld();
    const { database } = await open();
    const outbox = new Outbox(world, new Seal([world.random(32)], world.random));
    let works = false;
    const tried: string[] = [];
    const settled: unknown[] = [];
    outbox.handle("revoke_token", {
      deliver: async (payload) => {
        tried.push(payload.token!);
        if (!works) throw new Error("503");
        return { done: true, outcome: "told" };
      },
      settled: async (_tx, { payload, ...how }) => {
        settled.push({ ...how, token: payload?.token });
      },
    });
    await outbox.put(database.db, "revoke_token", "up_1", { token: "t" });
    await Promise.all([outbox.run(database), outbox.run(database)]);
    expect(tried).toEqual(["t"]);
    await outbox.run(database);
    expect(tried).toHaveLength(1);
    world.advance(6_000);
    works = true;
    await outbox.run(database);
    expect(tried).toHaveLength(2);
    expect(await database.db.selectFrom("outbox").selectAll().execute()).toEqual([]);
    expect(settled.splice(0)).toEqual([
      { done: true, outcome: "told", subject: "up_1", attempts: 2, token: "t" },
    ]);
    works = false;
    await outbox.put(database.db, "revoke_token", "up_1", { token: "u" });
    for (let hour = 0; hour < 26; hour++) {
      await outbox.run(database);
      world.advance(60 * 60 * 1000);
    }
    expect(settled).toEqual([
      expect.objectContaining({ done: false, outcome: "failed", subject: "up_1", token: "u" }),
    ]);
    expect(await database.db.selectFrom("outbox").selectAll().execute()).toEqual([]);
  });

  it("stores no payload in the clear", async () => {
    const world = testWorld();
    const { database } = await open();
    const outbox = new Outbox(world, new Seal([world.random(32)], world.random));
    await outbox.put(database.db, "revoke_token", "up_1", { token: "MARK-secret" });
    const [row] = await database.db.selectFrom("outbox").select("sealed").execute();
    expect(Buffer.from(row!.sealed).includes("MARK-secret")).toBe(false);
  });
});
