import { hash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { gunzipSync, gzipSync } from "node:zlib";
import { Kysely } from "kysely";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { freshPostgresDatabase } from "../../../test/postgres/database.ts";
import { openLog } from "../../base/index.ts";
import { openDatabase } from "../index.ts";
import { migrate, migrationNames } from "../migrate.ts";
import { openSqlite } from "../sqlite.ts";
import type { Tables } from "../tables.ts";
import { type TableEnd, type TableHead, toLine, type Value } from "./format.ts";
import { type RestoreOptions, restoreBackup } from "./restore.ts";
import { openSnapshot } from "./snapshot.ts";
import { backedUp } from "./table-order.ts";
import { writeBackup } from "./write.ts";

const folder = mkdtempSync(join(tmpdir(), "postern-backup-"));
const source = `sqlite:${folder}/source.db`;
const dropping: (() => Promise<unknown>)[] = [];
let names = 0;

afterEach(async () => {
  for (const drop of dropping.splice(0)) await drop();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const path = (end: string) => join(folder, `${names++}${end}`);
const now = new Date("2026-11-20T03:00:00Z");

async function postgres(): Promise<string> {
  const { url, drop } = await freshPostgresDatabase();
  dropping.push(drop);
  return url;
}

async function backUp(url: string, to = path(".backup")): Promise<string> {
  const snapshot = await openSnapshot(url);
  try {
    await writeBackup(snapshot, { path: to, force: false, postern: "0.1.0", now });
  } finally {
    await snapshot.close();
  }
  return to;
}

function restore(from: string, url: string, options: Partial<RestoreOptions> = {}) {
  return restoreBackup({ path: from, url, force: false, now, finish: async () => {}, ...options });
}

/** Every row of every table that a backup holds, in an order of its own. */
async function content(url: string): Promise<Record<string, string[]>> {
  const snapshot = await openSnapshot(url);
  const found: Record<string, string[]> = {};
  for (const table of backedUp) {
    const columns = (await snapshot.columns(table)).toSorted((a, b) => a.name.localeCompare(b.name));
    const rows: Value[][] = [];
    for await (const batch of snapshot.rows(table, columns)) rows.push(...batch);
    found[table] = rows
      .map((row) => JSON.stringify(row.map((value) => (value instanceof Uint8Array ? [...value] : value))))
      .toSorted();
  }
  await snapshot.close();
  return found;
}

/** Three rows in every table and 1,200 in one, with what is hard to carry: bytes, nulls, quotes, letters of all kinds. */
async function fill(url: string): Promise<void> {
  await (await openDatabase(url, openLog("silent"))).close();
  const database = new DatabaseSync(url.slice("sqlite:".length));
  database.exec("pragma foreign_keys = on; begin");
  for (const table of backedUp) {
    const columns = database.prepare("select * from pragma_table_info(?)").all(table);
    const parents = database
      .prepare('select "from", "table", "to" from pragma_foreign_key_list(?)')
      .all(table);
    const value = (column: Record<string, unknown>, row: number): SQLInputValue => {
      const name = String(column.name);
      const parent = parents.find(({ from }) => from === name);
      if (parent)
        return database
          .prepare(`select "${parent.to}" as v from "${parent.table}" limit 1 offset ?`)
          .get(row % 3)!.v as SQLInputValue;
      if (column.notnull === 0 && column.pk === 0 && row === 0) return null;
      const type = String(column.type).toLowerCase();
      if (type === "blob") return Uint8Array.from({ length: 300 }, (_, at) => (at + row) % 256);
      if (type === "integer") return row === 1 ? 1_800_000_000_000 + row : row;
      return `${table} ${name} ${row} "quoted" 'and' \\ \n 𝒳 Ünïcödé { } \u2028`;
    };
    const insert = database.prepare(`insert into "${table}" values (${columns.map(() => "?").join(", ")})`);
    for (let row = 0; row < (table === "audit" ? 1200 : 3); row++)
      insert.run(...columns.map((column) => integerColumns(column, value(column, row))));
  }
  database.exec("commit");
  database.close();
}

/** Flags and counters are 32 bits wide on Postgres; times are not. */
function integerColumns({ name, type }: Record<string, unknown>, value: SQLInputValue): SQLInputValue {
  if (String(type).toLowerCase() !== "integer" || typeof value !== "number" || value < 2 ** 31) return value;
  return /(_at|_until|_after)$|^at$/.test(String(name)) ? value : 1;
}

beforeAll(() => fill(source));

describe("backup and restore", () => {
  it("everything in every table comes back, in the same kind of database and in the other, and back again", async () => {
    const before = await content(source);
    expect(before.audit).toHaveLength(1200);
    for (const rows of Object.values(before)) expect(rows.length).toBeGreaterThan(2);
    const first = await backUp(source);
    const again = `sqlite:${path(".db")}`;
    await restore(first, again);
    expect(await content(again)).toEqual(before);
    const other = await postgres();
    await restore(first, other);
    expect(await content(other)).toEqual(before);
    const back = `sqlite:${path(".db")}`;
    await restore(await backUp(other), back);
    expect(await content(back)).toEqual(before);
    // Both open as they are: nothing is left to migrate.
    for (const url of [again, other, back]) await (await openDatabase(url, openLog("silent"))).close();
  }, 120_000);

  it("the file is readable by this user only, has its name only when it is whole, and replaces nothing by itself (ST-12)", async () => {
    const to = await backUp(source);
    expect(statSync(to).mode & 0o777).toBe(0o600);
    await expect(backUp(source, to)).rejects.toThrow("exists already");
    const aborted = AbortSignal.abort();
    const snapshot = await openSnapshot(source);
    const late = path(".backup");
    await expect(
      writeBackup(snapshot, { path: late, force: false, postern: "0", now, signal: aborted }),
    ).rejects.toThrow();
    await snapshot.close();
    expect(existsSync(late)).toBe(false);
    expect(readdirSync(folder).filter((name) => name.includes("partial"))).toEqual([]);
  });

  it("what is written while it runs is not in it, and is not held up", async () => {
    for (const url of [source, await postgres()]) {
      const open = await openDatabase(url, openLog("silent"));
      await open.db
        .insertInto("settings")
        .values({ name: "before", value_json: "1", updated_at: 1 })
        .execute();
      const snapshot = await openSnapshot(url);
      await snapshot.migrations();
      await open.db
        .insertInto("settings")
        .values({ name: "meanwhile", value_json: "1", updated_at: 1 })
        .execute();
      const to = path(".backup");
      await writeBackup(snapshot, { path: to, force: false, postern: "0", now });
      await snapshot.close();
      const text = gunzipSync(readFileSync(to)).toString();
      expect(text).toContain('["before"');
      expect(text).not.toContain('["meanwhile"');
      await open.db.deleteFrom("settings").where("name", "in", ["before", "meanwhile"]).execute();
      await open.close();
    }
  });

  it("a backup that is damaged, cut off, none or newer is refused with a sentence, and nothing is written", async () => {
    const good = readFileSync(await backUp(source));
    const text = gunzipSync(good).toString();
    const cases: [content: Buffer, sentence: string][] = [
      [gzipSync(text.replace("audit actor 7 ", "audit actor 8 ")), "the rows of audit are not those"],
      [gzipSync(text.replace(/\n\["[^\n]*audit id 9 [^\n]*\n/, "\n")), "the rows of audit are not those"],
      [gzipSync(text.slice(0, text.lastIndexOf("\n", text.length - 2) + 1)), "cut off"],
      [good.subarray(0, good.length - 2000), "cut off"],
      [gzipSync(text.replace('"sqlite"', '"other!"')), "checksum"],
      [gzipSync('{"a":1}\n'), "no backup of Postern"],
      [Buffer.from("SQLite format 3"), "no backup of Postern"],
      [gzipSync(text.replace('"format_version":1', '"format_version":2')), "newer version"],
      [
        forged(text, (header) => ({ ...header, migrations: [...migrationNames, "9999-later"] })),
        "or a newer one",
      ],
    ];
    for (const [bytes, sentence] of cases) {
      const bad = path(".backup");
      writeFileSync(bad, bytes);
      const to = path(".db");
      await expect(restore(bad, `sqlite:${to}`), sentence).rejects.toThrow(sentence);
      expect(existsSync(to)).toBe(false);
    }
    await expect(restore(path(".none"), `sqlite:${path(".db")}`)).rejects.toThrow("There is no file");
    expect(readdirSync(folder).filter((name) => name.includes("restoring"))).toEqual([]);
  });

  it("it is refused while a gateway is connected, undone by a fault at the very end, and never takes the place of something else by itself", async () => {
    const from = await backUp(source);
    for (const url of [`sqlite:${path(".db")}`, await postgres()]) {
      const open = await openDatabase(url, openLog("silent"));
      const refused = /Stop (the gateway|every replica) first/;
      await expect(restore(from, url, { force: true })).rejects.toThrow(refused);
      await open.close();
      const finish = () => Promise.reject(new Error("the wrong key"));
      await expect(restore(from, url, { finish })).rejects.toThrow("the wrong key");
      expect((await content(url)).users).toEqual([]);
      await restore(from, url);
      await expect(restore(from, url)).rejects.toThrow("already. Restore into an empty one, or add --force");
      const aside = (await restore(from, url, { force: true })).keptAside!;
      expect((await content(url)).users).toHaveLength(3);
      expect(await usersAside(url, aside)).toHaveLength(3);
    }
  }, 120_000);

  it("a backup of an older version is brought up to date", async () => {
    const last = "0022-leases";
    const text = asOf(gunzipSync(readFileSync(await backUp(source))).toString(), await schemaOf(last));
    const old = path(".backup");
    const migrations = migrationNames.filter((name) => name <= last);
    writeFileSync(
      old,
      forged(text, (header) => ({ ...header, migrations })),
    );
    const url = `sqlite:${path(".db")}`;
    await restore(old, url);
    const [before, after] = [await content(source), await content(url)];
    expect(after.audit).toEqual(before.audit);
    expect(after.users).toHaveLength(before.users!.length);
    expect([after.restores, after.data_keys, after.groups]).toEqual([[], [], []]);
  });
});

async function usersAside(url: string, aside: string): Promise<unknown[]> {
  const isFile = url.startsWith("sqlite:");
  const open = await openDatabase(isFile ? `sqlite:${aside}` : url, openLog("silent"));
  const db = isFile ? open.db : open.db.withSchema(aside);
  const rows = await db.selectFrom("users").select("id").execute();
  await open.close();
  return rows;
}

/** Another header, checksums made anew. */
function forged(text: string, change: (header: Record<string, unknown>) => Record<string, unknown>): Buffer {
  const lines = text.trimEnd().split("\n");
  const end = JSON.parse(lines.pop()!);
  lines[0] = JSON.stringify(change(JSON.parse(lines[0]!)));
  const body = `${lines.join("\n")}\n`;
  return gzipSync(`${body}${toLine({ ...end, sha256: hash("sha256", body, "base64url") })}`);
}

/** The tables of a database that was migrated as far as `last`, with their columns. */
async function schemaOf(last: string): Promise<Map<string, Set<string>>> {
  const db = new Kysely<Tables>({ dialect: openSqlite(":memory:").dialect });
  await migrate(db, "sqlite", () => {}, last);
  const tables = await db.introspection.getTables();
  await db.destroy();
  return new Map(tables.map(({ name, columns }) => [name, new Set(columns.map((column) => column.name))]));
}

/** A backup with what a database of that schema has of it. */
function asOf(text: string, schema: ReadonlyMap<string, ReadonlySet<string>>): string {
  const [header, ...rest] = text.trimEnd().split("\n");
  const kept: string[] = [];
  const count = { tables: 0, rows: 0 };
  while (rest.length > 1) {
    const head: TableHead = JSON.parse(rest.shift()!);
    const rows = rest.splice(0, rest.indexOf(rest.find((line) => line.startsWith('{"end":'))!));
    const end: TableEnd = JSON.parse(rest.shift()!);
    const known = schema.get(head.table);
    if (!known) continue;
    const columns = head.columns.filter(({ name }) => known.has(name));
    const at = columns.map((column) => head.columns.indexOf(column));
    const lines = rows.map((row) => toLine(at.map((index) => JSON.parse(row)[index])));
    const sha256 = hash("sha256", lines.join(""), "base64url");
    kept.push(toLine({ ...head, columns }), ...lines, toLine({ ...end, sha256 }));
    count.tables += 1;
    count.rows += rows.length;
  }
  return `${header}\n${kept.join("")}${toLine({ ...JSON.parse(rest[0]!), ...count })}`;
}
