import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testWorld } from "../../test/support/world.ts";
import { Seal } from "../base/index.ts";
import { Flows, sweep } from "./index.ts";

const MINUTE = 60_000;
const owner = { mode: "vk", id: "vk_1" } as const;

onBothDatabases("flows", (open) => {
  async function setUp() {
    const world = testWorld();
    const { database } = await open();
    const seal = new Seal([world.random(32)], world.random);
    return { world, database, flows: new Flows(world, seal) };
  }

  it("are taken at most once, however many ask at the same time (R2)", async () => {
    const { database, flows } = await setUp();
    const { id } = await flows.start(database.db, {
      kind: "code",
      data: { a: 1 },
      secret: { verifier: "v" },
      ttlMs: MINUTE,
    });
    const takes = await Promise.all(
      Array.from({ length: 20 }, () =>
        database.transaction((tx) => flows.take(tx, "code", { id }, "redeemed")),
      ),
    );
    const won = takes.filter((flow) => flow !== undefined);
    expect(won).toHaveLength(1);
    expect(won[0]!.data).toEqual({ a: 1 });
    expect(won[0]!.secret()).toEqual({ verifier: "v" });
  });

  it("tell used, expired and unknown apart, and keep nothing of what they held", async () => {
    const { world, database, flows } = await setUp();
    const used = await flows.start(database.db, {
      kind: "consent",
      data: { a: 1 },
      secret: { s: "x" },
      ttlMs: MINUTE,
    });
    const late = await flows.start(database.db, {
      kind: "consent",
      data: { a: 2 },
      secret: { s: "y" },
      ttlMs: MINUTE,
    });
    await database.transaction((tx) => flows.take(tx, "consent", { id: used.id }, "submitted"));
    world.advance(MINUTE);
    expect(
      await database.transaction((tx) => flows.take(tx, "consent", { id: late.id }, "submitted")),
    ).toBeUndefined();
    expect(await flows.peek(database.db, "consent", { id: used.id })).toMatchObject({
      state: "ended",
      outcome: "submitted",
    });
    expect(await flows.peek(database.db, "consent", { id: late.id })).toMatchObject({ state: "expired" });
    expect(await flows.peek(database.db, "consent", { id: "nobody" })).toEqual({ state: "unknown" });
    expect(await flows.peek(database.db, "code", { id: used.id })).toEqual({ state: "unknown" });
    await sweep(database, world);
    const expired = database.db.selectFrom("flows").select("id").where("outcome", "=", "expired");
    expect(await expired.execute()).toEqual([{ id: late.id }]);
    const rows = await database.db.selectFrom("flows").select(["data_json", "sealed"]).execute();
    expect(rows).toEqual(Array(2).fill({ data_json: "{}", sealed: null }));
    expect(await flows.peek(database.db, "consent", { id: late.id })).toMatchObject({ state: "expired" });
    world.advance(24 * 60 * MINUTE);
    await sweep(database, world);
    expect(await flows.peek(database.db, "consent", { id: used.id })).toEqual({ state: "unknown" });
  });

  it("are found by a secret handle only through its hash", async () => {
    const { database, flows } = await setUp();
    await flows.start(database.db, { kind: "state", handleHash: "h", data: {}, ttlMs: MINUTE });
    expect(await flows.peek(database.db, "state", { handleHash: "h" })).toMatchObject({ state: "pending" });
    expect(await flows.peek(database.db, "state", { handleHash: "other" })).toEqual({ state: "unknown" });
  });

  it("an update loses when somebody else changed the flow meanwhile", async () => {
    const { database, flows } = await setUp();
    const flow = await flows.start(database.db, { kind: "consent", data: { step: 1 }, ttlMs: MINUTE });
    expect(await flows.update(database.db, flow, { step: 2 })).toBe(true);
    expect(await flows.update(database.db, flow, { step: 3 })).toBe(false);
    expect(await flows.peek(database.db, "consent", { id: flow.id })).toMatchObject({
      flow: { data: { step: 2 } },
    });
  });

  it("one pending connect per binding is a rule of the database", async () => {
    const { database, flows } = await setUp();
    const connect = { kind: "connect" as const, owner, upstreamId: "up_1", data: {}, ttlMs: MINUTE };
    const first = await flows.start(database.db, connect);
    await expect(flows.start(database.db, connect)).rejects.toThrow();
    await flows.start(database.db, { ...connect, account: "work" });
    expect(
      await database.transaction((tx) =>
        flows.end(tx, { kind: "connect", owner, upstreamId: "up_1", account: "" }, "replaced"),
      ),
    ).toEqual([first.id]);
    await flows.start(database.db, connect);
  });

  it("a sealed part copied to another flow does not open (R11)", async () => {
    const { database, flows } = await setUp();
    const a = await flows.start(database.db, {
      kind: "state",
      data: {},
      secret: { verifier: "a" },
      ttlMs: MINUTE,
    });
    const b = await flows.start(database.db, {
      kind: "state",
      data: {},
      secret: { verifier: "b" },
      ttlMs: MINUTE,
    });
    const { sealed } = await database.db
      .selectFrom("flows")
      .select("sealed")
      .where("id", "=", b.id)
      .executeTakeFirstOrThrow();
    await database.db.updateTable("flows").set({ sealed }).where("id", "=", a.id).execute();
    const state = await flows.peek(database.db, "state", { id: a.id });
    expect(() => state.state === "pending" && state.flow.secret()).toThrow("does not open");
  });
});
