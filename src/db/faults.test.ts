import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { sql } from "kysely";
import { afterEach, describe, expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { openLog } from "../base/index.ts";
import { postgresFault, sqliteFault } from "./faults.ts";
import { openDatabase } from "./index.ts";
import { Leases } from "./leases.ts";

describe("what an error of the driver means", () => {
  it.each([
    [{ code: "ECONNREFUSED" }, "gone"],
    [{ code: "ENOTFOUND" }, "gone"],
    [{ code: "57P01" }, "gone"],
    [{ code: "57P03" }, "gone"],
    [{ code: "08006" }, "gone"],
    [{ code: "28P01" }, "gone"],
    [{ message: "Connection terminated unexpectedly" }, "gone"],
    [{ message: "Query read timeout" }, "gone"],
    [{ message: "timeout exceeded when trying to connect" }, "busy"],
    [{ code: "53300" }, "busy"],
    [{ code: "55P03" }, "busy"],
    [{ code: "53100" }, "full"],
    [{ code: "57014" }, "slow"],
    [{ code: "40001" }, "conflict"],
    [{ code: "40P01" }, "conflict"],
    [{ code: "25006" }, "read_only"],
    [{ code: "23505" }, undefined],
    [{ code: "42601" }, undefined],
    [{ code: "ERR_INVALID_ARG_TYPE" }, undefined],
    [new Error("anything"), undefined],
    [undefined, undefined],
  ])("on Postgres %o is %s", (error, fault) => {
    expect(postgresFault(error)).toBe(fault);
  });

  it.each([
    [5, "busy"],
    [6, "busy"],
    [8, "read_only"],
    [1032, "read_only"],
    [13, "full"],
    [10, "gone"],
    [778, "gone"],
    [14, "gone"],
    [2067, undefined],
    [11, undefined],
  ])("on SQLite %i is %s", (errcode, fault) => {
    expect(sqliteFault({ code: "ERR_SQLITE_ERROR", errcode })).toBe(fault);
  });
});

describe("on SQLite", () => {
  const folders: string[] = [];
  afterEach(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  });

  it("a full file refuses with `database_full`, changes nothing, and goes on once there is room (AV-07)", async () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-full-"));
    folders.push(folder);
    const database = await openDatabase(`sqlite:${join(folder, "postern.db")}`, openLog("silent"));
    const { db } = database;
    const { rows } = await sql<{ page_count: number }>`pragma page_count`.execute(db);
    await sql`pragma max_page_count = ${sql.lit(rows[0]!.page_count)}`.execute(db);
    const write = () =>
      database.transaction(async (tx) => {
        for (const id of ["a", "b"])
          await tx
            .insertInto("instance")
            .values({ name: id, sealed: Buffer.alloc(100_000) })
            .execute();
      });
    await expect(write()).rejects.toMatchObject({ status: 503, code: "database_full", retryAfter: 30 });
    expect(await db.selectFrom("instance").select("name").execute()).toEqual([]);
    await sql`pragma max_page_count = 1000000`.execute(db);
    await write();
    expect(await db.selectFrom("instance").select("name").execute()).toHaveLength(2);
    await database.close();
  });

  it("a file that another process holds refuses with `database_busy` (AV-08)", async () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-busy-"));
    folders.push(folder);
    const path = join(folder, "postern.db");
    const database = await openDatabase(`sqlite:${path}`, openLog("silent"));
    await sql`pragma busy_timeout = 10`.execute(database.db);
    const other = new DatabaseSync(path);
    other.exec("begin immediate");
    const take = () => database.leases.take("x", 1000);
    await expect(take()).rejects.toMatchObject({ status: 503, code: "database_busy", retryAfter: 1 });
    other.exec("commit");
    other.close();
    expect(await take()).toBe(true);
    await database.close();
  });
});

onBothDatabases("leases", (open) => {
  it("have one holder at a time, who may keep them, give them back, or lose them by time (AV-25)", async () => {
    const { database, url } = await open();
    const { leases } = database;
    // SQLite in memory has no second process; another name does as well.
    const other = url.startsWith("sqlite:")
      ? new Leases(database.db, "sqlite", "another")
      : (await open(url)).database.leases;
    expect(other.holder).not.toBe(leases.holder);
    const takes = await Promise.all([leases.take("sweep", 60_000), other.take("sweep", 60_000)]);
    expect(takes.filter(Boolean)).toHaveLength(1);
    const [holder, late] = takes[0] ? [leases, other] : [other, leases];
    expect(await holder.take("sweep", 60_000)).toBe(true);
    expect(await late.take("sweep", 60_000)).toBe(false);
    expect(await late.take("another", 60_000)).toBe(true);
    await late.release("sweep");
    expect(await late.take("sweep", 60_000)).toBe(false);
    await holder.release("sweep");
    expect(await late.take("sweep", 60_000)).toBe(true);
    // A holder that died: its time runs out by the clock of the database.
    expect(await late.take("sweep", 1)).toBe(true);
    await expect.poll(() => holder.take("sweep", 60_000)).toBe(true);
  });
});
