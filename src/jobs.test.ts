import { expect, it } from "vitest";
import { onBothDatabases } from "../test/support/databases.ts";
import { openLog } from "./base/index.ts";
import { Jobs } from "./jobs.ts";

onBothDatabases("jobs", (open, kind) => {
  if (kind === "sqlite") {
    it("that fail are tried again; a stop waits for what is under way", async () => {
      const jobs = new Jobs(openLog("silent"));
      let runs = 0;
      const over = Promise.withResolvers<void>();
      const began = Promise.withResolvers<void>();
      const run = async () => {
        runs += 1;
        if (runs < 3) throw new Error("no");
        began.resolve();
        await over.promise;
      };
      jobs.start([{ name: "fails", everyMs: 1, run }]);
      await began.promise;
      let isStopped = false;
      const stopping = jobs.stop().then(() => {
        isStopped = true;
      });
      await Promise.resolve();
      expect(isStopped).toBe(false);
      over.resolve();
      await stopping;
      expect(runs).toBe(3);
    });
    return;
  }

  it("for one replica run on one of them, and on the other when that has stopped; others on each (AV-25)", async () => {
    const { database, url } = await open();
    const { database: other } = await open(url);
    const ran = { first: 0, second: 0, each: 0 };
    const counting = (name: keyof typeof ran) => async () => {
      ran[name] += 1;
    };
    const jobsOf = (name: "first" | "second") => [
      { name: "alone", everyMs: 20, on: "one" as const, run: counting(name) },
      { name: "each", everyMs: 20, run: counting("each") },
    ];
    // A lease that does not run out by itself while this test runs.
    const first = new Jobs(openLog("silent"), lasting(database.leases));
    first.start(jobsOf("first"));
    await expect.poll(() => ran.first).toBeGreaterThan(2);
    const second = new Jobs(openLog("silent"), lasting(other.leases));
    second.start(jobsOf("second"));
    const before = ran.each;
    await expect.poll(() => ran.each - before).toBeGreaterThan(10);
    expect(ran.second).toBe(0);
    await first.stop();
    await expect.poll(() => ran.second).toBeGreaterThan(0);
    await second.stop();
  });

  it("that fail on one replica are free for another", async () => {
    const { database, url } = await open();
    const { database: other } = await open(url);
    let failed = 0;
    let done = 0;
    const first = new Jobs(openLog("silent"), lasting(database.leases));
    const fail = async () => {
      failed += 1;
      throw new Error("no");
    };
    first.start([{ name: "alone", everyMs: 5, on: "one", run: fail }]);
    await expect.poll(() => failed).toBeGreaterThan(0);
    const second = new Jobs(openLog("silent"), lasting(other.leases));
    const run = async () => {
      done += 1;
    };
    second.start([{ name: "alone", everyMs: 5, on: "one", run }]);
    await expect.poll(() => done).toBeGreaterThan(0);
    await Promise.all([first.stop(), second.stop()]);
  });
});

/** The same leases, for a minute whatever is asked. */
function lasting<T extends { take(name: string, ms: number): Promise<boolean> }>(leases: T): T {
  return new Proxy(leases, {
    get: (target, name) =>
      name === "take"
        ? (lease: string) => target.take(lease, 60_000)
        : (target[name as keyof T] as () => unknown).bind(target),
  });
}
