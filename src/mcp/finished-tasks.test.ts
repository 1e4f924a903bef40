import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testWorld } from "../../test/support/world.ts";
import { Seal } from "../base/index.ts";
import type { Caller } from "./caller.ts";
import { FinishedTasks } from "./finished-tasks.ts";
import { sweepKept } from "./sweep.ts";

const ann: Caller = { owner: { mode: "vk", id: "k1" }, actor: "vk:k1", binding: "vk:k1" };
const ben: Caller = { owner: { mode: "vk", id: "k2" }, actor: "vk:k2", binding: "vk:k2" };
const result = { content: [{ type: "text", text: "done" }] };

onBothDatabases("results kept as tasks", (open) => {
  test("are found by their caller, on another replica too, until their time is over, and then swept", async () => {
    const { database } = await open();
    const world = testWorld();
    const seal = new Seal([randomBytes(32)], randomBytes);
    const finished = new FinishedTasks({ world, database, seal });
    const kept = await finished.keep(ann, result, 90_000);
    expect(kept!.task).toMatchObject({ status: "completed", ttl: 90_000 });
    const elsewhere = new FinishedTasks({ world, database, seal });
    expect(await elsewhere.find(ann, kept!.own)).toEqual({ task: kept!.task, result });
    expect(await elsewhere.find(ben, kept!.own)).toBeUndefined();
    world.advance(90_000);
    expect(await finished.find(ann, kept!.own)).toBeUndefined();
    await sweepKept(database, world);
    expect(await database.db.selectFrom("finished_tasks").selectAll().execute()).toEqual([]);
  });

  test("are bounded in time, size and number", async () => {
    const { database } = await open();
    const world = testWorld();
    const finished = new FinishedTasks({ world, database, seal: new Seal([randomBytes(32)], randomBytes) });
    for (const [asked, given] of [
      [1, 60_000],
      [undefined, 600_000],
      ["x", 600_000],
      [1e12, 3_600_000],
    ])
      expect((await finished.keep(ann, result, asked))!.task.ttl).toBe(given);
    const large = { content: [{ type: "text", text: "x".repeat(5 * 1024 * 1024) }] };
    expect(await finished.keep(ann, large, undefined)).toBeUndefined();
    const others = await finished.keep(ben, result, undefined);
    const oldest = await finished.keep(ann, result, 60_001);
    for (let n = 0; n < 260; n++) await finished.keep(ann, result, undefined);
    const { length } = await database.db.selectFrom("finished_tasks").select("id").execute();
    expect(length).toBe(257);
    expect(await finished.find(ann, oldest!.own)).toBeUndefined();
    expect(await finished.find(ben, others!.own)).toBeDefined();
  });
});
