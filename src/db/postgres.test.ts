import { sql } from "kysely";
import pg from "pg";
import { afterEach, describe, expect, it } from "vitest";
import { freshPostgresDatabase } from "../../test/postgres/database.ts";
import { PostgresProxy } from "../../test/postgres/proxy.ts";
import { openLog } from "../base/index.ts";
import { Bell } from "./bell.ts";
import { type Change, type Database, EVERYTHING, openDatabase, type Tx } from "./index.ts";
import { everybodyListens, openPostgres } from "./postgres.ts";

const log = openLog("silent");
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function fresh(): Promise<string> {
  const { url, drop } = await freshPostgresDatabase();
  closing.push(drop);
  return url;
}

async function opened(url: string, poolSize?: number): Promise<Database> {
  const database = await openDatabase(url, log, { poolSize });
  closing.push(() => database.close());
  return database;
}

/** A database behind a proxy, and a way to it around the proxy. */
async function proxied(poolSize?: number) {
  const url = await fresh();
  const proxy = await PostgresProxy.before(url);
  closing.push(() => proxy[Symbol.asyncDispose]());
  return { proxy, database: await opened(proxy.url, poolSize), direct: await opened(url) };
}

const put = (tx: Tx, name: string) =>
  tx
    .insertInto("instance")
    .values({ name, sealed: Buffer.from("x") })
    .execute();

const names = async ({ db }: Database) =>
  (await db.selectFrom("instance").select("name").orderBy("name").execute()).map(({ name }) => name);

function heardBy(database: Database): Change[] {
  const heard: Change[] = [];
  database.changes.listen((change) => heard.push(change));
  return heard;
}

describe("changes", () => {
  it("of fifty writers at once, some of which fail, are told in order, without gaps, each once", async () => {
    const url = await fresh();
    const [first, second] = [await opened(url), await opened(url)];
    const heard = heardBy(second);
    const write = (writer: number, round: number) =>
      first
        .transaction(async (tx) => {
          await first.changes.note(tx, "grant", `${writer}.${round}`, 0);
          await first.changes.note(tx, "grant", `${writer}.${round}`, 0);
          await put(tx, `${writer}.${round}`);
          if ((writer + round) % 5 === 0) throw new Error("no");
        })
        .catch(() => {});
    await Promise.all(
      Array.from({ length: 50 }, async (_, writer) => {
        for (let round = 0; round < 4; round++) await write(writer, round);
      }),
    );
    await second.changes.pull();
    expect(heard.map(({ key }) => key).toSorted()).toEqual((await names(first)).toSorted());
    expect(heard).toHaveLength(160);
    const rows = await first.db.selectFrom("changes").select("seq").orderBy("seq").execute();
    expect(rows.map(({ seq }) => seq)).toEqual(Array.from({ length: 160 }, (_, at) => at + 1));
  });

  it("that were swept before they were read drop everything; so does a counter that went back (AV-14)", async () => {
    const url = await fresh();
    const [first, second] = [await opened(url), await opened(url)];
    const heard = heardBy(second);
    const note = (key: string) => first.transaction((tx) => first.changes.note(tx, "grant", key, 0));
    for (const key of ["a", "b", "c"]) await note(key);
    await first.db.deleteFrom("changes").where("seq", "=", 1).execute();
    await second.changes.pull();
    expect(heard.splice(0)).toEqual([{ topic: EVERYTHING, key: "" }]);
    await note("d");
    await second.changes.pull();
    expect(heard.splice(0)).toEqual([{ topic: "grant", key: "d" }]);
    await note("e");
    await first.db.deleteFrom("changes").execute();
    await second.changes.pull();
    expect(heard.splice(0)).toEqual([{ topic: EVERYTHING, key: "" }]);
    // As after a failover to a standby that had not received everything.
    await first.db.updateTable("change_counter").set({ value: 3 }).execute();
    await second.changes.pull();
    expect(heard.splice(0)).toEqual([{ topic: EVERYTHING, key: "" }]);
    await second.changes.pull();
    expect(heard).toEqual([]);
  });

  it("wake the others, who hear of it again after their connection was cut (AV-14)", async () => {
    const { url } = { url: await fresh() };
    const proxy = await PostgresProxy.before(url);
    closing.push(() => proxy[Symbol.asyncDispose]());
    const database = await opened(url);
    const bell = (at: string, name: string) => {
      const { listener, lines } = openPostgres(at, log, { replica: name, poolSize: 1 });
      closing.push(() => lines.end());
      const notify = (channel: string, payload: string) =>
        sql`select pg_notify(${channel}, ${payload})`.execute(database.db);
      const made = new Bell({
        connect: listener,
        notify,
        everybodyListens: () => everybodyListens(database.db),
        name,
        log,
      });
      closing.push(() => made.stop());
      return made;
    };
    let heard = 0;
    const listening = bell(proxy.url, "listening");
    const ringing = bell(url, "ringing");
    listening.start(() => {
      heard += 1;
    });
    ringing.start(() => {});
    await expect.poll(() => listening.works && ringing.works).toBe(true);
    // Once when it had connected, since it may have missed something.
    expect(heard).toBe(1);
    ringing.ring();
    await expect.poll(() => heard).toBe(2);
    proxy.cut();
    await expect.poll(() => heard).toBe(3);
    await expect.poll(() => listening.works).toBe(true);
    for (let ring = 0; ring < 100; ring++) ringing.ring();
    await expect.poll(() => heard).toBeGreaterThan(3);
    expect(heard).toBeLessThan(20);
  });
});

it("knows whether everybody listens: also of a replica of a version that does not, and of one that polls alone", async () => {
  const url = await fresh();
  const [first, second] = [await opened(url), await opened(url)];
  first.changes.follow();
  await names(second);
  await expect.poll(() => everybodyListens(first.db)).toBe(false);
  second.changes.follow();
  await expect.poll(() => everybodyListens(first.db)).toBe(true);
  const older = new pg.Client({ connectionString: url, application_name: "postern" });
  await older.connect();
  expect(await everybodyListens(first.db)).toBe(false);
  await older.end();
  await expect.poll(() => everybodyListens(first.db)).toBe(true);
});

describe("a commit whose answer is lost (AV-09)", () => {
  it("is asked after: what was stored counts, and is told", async () => {
    const { proxy, database } = await proxied();
    const heard = heardBy(database);
    proxy.atNextCommit("lose_answer");
    const result = await database.transaction(async (tx) => {
      await put(tx, "once");
      await database.changes.note(tx, "grant", "g", 0);
      return "done";
    });
    expect(result).toBe("done");
    expect(heard).toEqual([{ topic: "grant", key: "g" }]);
    expect(await names(database)).toEqual(["once"]);
  });

  it("did not happen where the commit never arrived: 503, and nobody is told", async () => {
    const { proxy, database } = await proxied();
    const heard = heardBy(database);
    proxy.atNextCommit("lose_commit");
    const lost = database.transaction(async (tx) => {
      await put(tx, "never");
      await database.changes.note(tx, "grant", "g", 0);
    });
    await expect(lost).rejects.toMatchObject({ status: 503, code: "database_unavailable" });
    expect(heard).toEqual([]);
    expect(await names(database)).toEqual([]);
  });

  it("stays unknown while the database cannot be asked: no guess, no second try", async () => {
    const { proxy, database, direct } = await proxied();
    proxy.atNextCommit("lose_answer", "refusing");
    let tries = 0;
    const lost = database.transaction(async (tx) => {
      tries += 1;
      await put(tx, "once");
    });
    await expect(lost).rejects.toMatchObject({ status: 503, code: "outcome_unknown" });
    expect(tries).toBe(1);
    expect(await names(direct)).toEqual(["once"]);
  }, 20_000);
});

describe("a database that is away", () => {
  it("refuses at once while that is known, and serves again by itself (AV-05)", async () => {
    const { proxy, database } = await proxied();
    proxy.refuse();
    const ask = () => names(database);
    await expect.poll(() => ask().catch(({ code }) => code)).toBe("database_unavailable");
    await expect.poll(() => database.ready()).toBe(false);
    const tried = proxy.refused;
    const answers = await Promise.allSettled(Array.from({ length: 2_000 }, ask));
    expect(answers.every(({ status }) => status === "rejected")).toBe(true);
    // Only the probe goes on trying.
    expect(proxy.refused - tried).toBeLessThan(20);
    proxy.restore();
    await expect.poll(() => database.ready()).toBe(true);
    expect(await ask()).toEqual([]);
  });

  it("that ends a connection in the middle of a transaction harms only that one (57P01)", async () => {
    const { database, direct } = await proxied();
    const end = sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and state = 'idle in transaction'`;
    const broken = database.transaction(async (tx) => {
      await put(tx, "broken");
      await end.execute(direct.db);
      await put(tx, "more");
    });
    await expect(broken).rejects.toMatchObject({ code: "database_unavailable" });
    await database.transaction((tx) => put(tx, "next"));
    expect(await names(database)).toEqual(["next"]);
  });

  it("that takes no changes says so, is not ready, and goes on answering questions (25006)", async () => {
    const url = await fresh();
    const before = await opened(url);
    const name = new URL(url).pathname.slice(1);
    await sql`alter database ${sql.ref(name)} set default_transaction_read_only = on`.execute(before.db);
    // Sessions that stand keep what they were opened with.
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()`.execute(before.db);
    await sql`set default_transaction_read_only = on`.execute(before.db);
    await expect(before.transaction((tx) => put(tx, "x"))).rejects.toMatchObject({
      status: 503,
      code: "database_read_only",
    });
    expect(await before.ready()).toBe(false);
    expect(await names(before)).toEqual([]);
  });
});

describe("under load", () => {
  /** Both connections of a pool of two are taken. */
  async function held(database: Database) {
    const over = Promise.withResolvers<void>();
    const inside = [0, 1].map(() => Promise.withResolvers<void>());
    const holding = inside.map((here, at) =>
      database.transaction(async (tx) => {
        await put(tx, `held ${at}`);
        here.resolve();
        await over.promise;
      }),
    );
    await Promise.all(inside.map(({ promise }) => promise));
    return { holding, release: () => over.resolve() };
  }

  it("no connection in time is `database_busy`, not a wait without end", async () => {
    const database = await opened(await fresh(), 2);
    const { holding, release } = await held(database);
    await expect(names(database)).rejects.toMatchObject({ status: 503, code: "database_busy" });
    release();
    await Promise.all(holding);
    expect(await names(database)).toHaveLength(2);
  });

  it("more callers than could ever be served in time are refused at once", async () => {
    const database = await opened(await fresh(), 2);
    const { holding, release } = await held(database);
    const answers = Array.from({ length: 100 }, () => names(database).catch(({ code }) => code));
    expect(await Promise.race(answers)).toBe("database_busy");
    release();
    await Promise.all([...holding, ...answers]);
  });

  it("transactions that block each other are done again, in some order (AV-10, 40P01)", async () => {
    const database = await opened(await fresh());
    await database.transaction(async (tx) => {
      await put(tx, "a");
      await put(tx, "b");
    });
    const both = Promise.withResolvers<void>();
    let arrived = 0;
    let tries = 0;
    const lock = (tx: Tx, name: string) =>
      tx
        .updateTable("instance")
        .set({ sealed: Buffer.from("y") })
        .where("name", "=", name)
        .execute();
    const crossing = (one: string, other: string) =>
      database.transaction(async (tx) => {
        tries += 1;
        await lock(tx, one);
        arrived += 1;
        if (arrived === 2) both.resolve();
        await both.promise;
        await lock(tx, other);
        return one;
      });
    expect(await Promise.all([crossing("a", "b"), crossing("b", "a")])).toEqual(["a", "b"]);
    expect(tries).toBe(3);
  });

  it("a statement that takes too long is ended, and its transaction undone (57014)", async () => {
    const database = await opened(await fresh());
    const slow = database.transaction(async (tx) => {
      await put(tx, "slow");
      await sql`set local statement_timeout = 50`.execute(tx);
      await sql`select pg_sleep(20)`.execute(tx);
    });
    await expect(slow).rejects.toMatchObject({ status: 503, code: "database_unavailable" });
    expect(await names(database)).toEqual([]);
  });
});
