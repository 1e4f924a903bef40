import { afterEach, beforeEach, expect, test } from "vitest";
import { type FreshDatabase, freshPostgresDatabase } from "../../test/postgres/database.ts";
import { watchedLog } from "../../test/support/leavings.ts";
import { type Database, openDatabase } from "../db/index.ts";
import type { Caller } from "./caller.ts";
import type { Client } from "./era.ts";
import { InFlight } from "./in-flight.ts";

// Two replicas on one database, whose changes are pulled by hand.

let fresh: FreshDatabase;
let databases: Database[];
let here: InFlight;
let there: InFlight;
const log = watchedLog();
const told = () => databases[1]!.changes.pull();

beforeEach(async () => {
  fresh = await freshPostgresDatabase();
  databases = [await openDatabase(fresh.url, log), await openDatabase(fresh.url, log)];
  const world = { now: () => new Date(), log };
  [here, there] = databases.map((database) => new InFlight({ world, database })) as [InFlight, InFlight];
});
afterEach(async () => {
  for (const database of databases) await database.close();
  await fresh.drop();
});

const alice = { binding: "vk:alice" } as Caller;
const client = (session: string) => ({ sessionId: `sealed ${session}`, session }) as Client;
const cancelled = (requestId: unknown) =>
  ({ method: "notifications/cancelled", params: { requestId } }) as never;
const call = (session: string, id: string | number) =>
  there.track(alice, client(session), id, new AbortController().signal);

/** Resolves when what `here` has to say was said to the other replicas. */
async function noted(count: number): Promise<void> {
  await expect
    .poll(async () => (await databases[0]!.db.selectFrom("changes").select("seq").execute()).length)
    .toBe(count);
}

test("MC-16 a cancellation ends the call on the replica that has it: that session's, of that id, and no other", async () => {
  const [hers, other, sameText] = [call("s1", 1), call("s2", 1), call("s1", "1")];
  here.notify(alice, client("s1"), cancelled(1));
  await noted(1);
  await told();
  expect([hers, other, sameText].map(({ signal }) => signal.aborted)).toEqual([true, false, false]);
});

test("what is here is not told, nor what names no call", async () => {
  const running = here.track(alice, client("s1"), 1, new AbortController().signal);
  here.notify(alice, client("s1"), cancelled(1));
  here.notify(alice, client("s1"), cancelled({}));
  here.notify(alice, {} as Client, cancelled(1));
  expect(running.signal.aborted).toBe(true);
  here.notify(alice, client("s1"), cancelled("x".repeat(100_000)));
  await noted(1);
  const [{ key } = { key: "" }] = await databases[0]!.db.selectFrom("changes").select("key").execute();
  expect(key.length).toBeLessThan(100);
});
