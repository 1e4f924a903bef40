import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { text } from "node:stream/consumers";
import { sql } from "kysely";
import { afterAll, expect, it } from "vitest";
import { openLog } from "../base/index.ts";
import { faultOf, openDatabase } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "postern-contention-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("200 writers beside another process that reads long, writes, backs up and checkpoints: nobody is told that it is busy (AV-08)", async () => {
  const path = join(folder, "a.db");
  const database = await openDatabase(`sqlite:${path}`, openLog("silent"));
  const script = join(import.meta.dirname, "../../test/support/beside.ts");
  const beside = spawn(process.execPath, [script, path, join(folder, "backup")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await once(beside.stdout, "data");
  const value = JSON.stringify("x".repeat(2_000));
  const writers = Array.from({ length: 200 }, async (_, writer) => {
    for (let turn = 0; turn < 5; turn++) {
      await database.transaction(async (tx) => {
        const row = { name: `${writer} ${turn}`, value_json: value, updated_at: 1 };
        await tx.insertInto("settings").values(row).execute();
        await database.changes.note(tx, "setting", `${writer}`, 1);
      });
    }
  });
  await Promise.all(writers);
  const said = text(beside.stdout);
  beside.stdin.end();
  const saw = JSON.parse(await said) as { written: number; before: number; after: number };
  // What the reader saw first it saw to the end; that kept the journal from being used anew, and then its room is given back.
  expect(saw.after).toBe(saw.before);
  const { n } = await database.db
    .selectFrom("settings")
    .select((count) => count.fn.countAll<number>().as("n"))
    .executeTakeFirstOrThrow();
  expect(n).toBe(1000 + saw.written);
  await sql`pragma wal_checkpoint(truncate)`.execute(database.db);
  expect(statSync(`${path}-wal`).size).toBe(0);
  const { rows } = await sql`pragma integrity_check`.execute(database.db);
  expect(rows).toEqual([{ integrity_check: "ok" }]);
  await database.close();
});

it("a full disk: the whole transaction is undone and said to be, reads go on, and room ends it (AV-07)", async () => {
  const path = join(folder, "b.db");
  const opened: DatabaseSync[] = [];
  const { prepare } = DatabaseSync.prototype;
  // The limit on pages is one connection's, and the gateway's is nobody's to have.
  DatabaseSync.prototype.prepare = function (this: DatabaseSync, sql) {
    if (!opened.includes(this)) opened.push(this);
    return prepare.call(this, sql);
  };
  const database = await openDatabase(`sqlite:${path}`, openLog("silent")).finally(() => {
    DatabaseSync.prototype.prepare = prepare;
  });
  const connection = opened.at(-1)!;
  const { page_count } = connection.prepare("pragma page_count").get() as { page_count: number };
  connection.exec(`pragma max_page_count = ${page_count + 5}`);
  const row = (name: string) => ({ name, value_json: "x".repeat(20_000), updated_at: 1 });
  const write = () =>
    database.transaction(async (tx) => {
      for (const name of ["a", "b", "c"]) await tx.insertInto("settings").values(row(name)).execute();
    });
  const refused = await write().catch((error: unknown) => error);
  expect(faultOf(refused)).toBe("full");
  const names = () => database.db.selectFrom("settings").select("name").execute();
  expect(await names()).toEqual([]);
  expect(await database.ready()).toBe(true);
  // What is written by the thousand is refused whole, too.
  const lines = Array.from({ length: 5 }, (_, at) => [`line ${at}`, "x".repeat(20_000), 1]);
  const many = () => database.insertMany("settings", ["name", "value_json", "updated_at"], lines);
  expect(faultOf(await many().catch((error: unknown) => error))).toBe("full");
  expect(await names()).toEqual([]);

  connection.exec("pragma max_page_count = 1000000");
  await write();
  await many();
  expect(await names()).toHaveLength(8);
  expect(connection.prepare("pragma integrity_check").get()).toEqual({ integrity_check: "ok" });
  await database.close();
});
