import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, expect, it } from "vitest";
import { openLog } from "../../src/base/index.ts";
import { openDatabase } from "../../src/db/index.ts";
import { freshPostgresDatabase } from "../postgres/database.ts";
import { postern } from "../support/command.ts";

const folder = mkdtempSync(join(tmpdir(), "postern-killed-"));
const MAIN = join(import.meta.dirname, "../../src/main.ts");
const key = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const environment = (url: string) => ({ POSTERN_DATABASE_URL: url, POSTERN_ENCRYPTION_KEY: key });

async function fill(url: string, name: string, rows: number): Promise<void> {
  const database = await openDatabase(url, openLog("silent"));
  const user = {
    name,
    password_hash: null,
    role: "member" as const,
    is_active: 1,
    created_at: 1,
    updated_at: 1,
  };
  for (let from = 0; from < rows; from += 500) {
    const some = Array.from({ length: Math.min(500, rows - from) }, (_, at) => ({
      ...user,
      id: `${name}${from + at}`,
      email: `${name}${from + at}@example.com`,
    }));
    await database.db.insertInto("users").values(some).execute();
  }
  await database.close();
}

/** Whose users there are, and how many. */
async function users(url: string): Promise<[string, number]> {
  const database = await openDatabase(url, openLog("silent"));
  const rows = await database.db.selectFrom("users").select("name").execute();
  await database.close();
  return [rows[0]?.name ?? "nobody", rows.length];
}

const fileGrowing = (place: string) => async () =>
  readdirSync(place).some((name) => name.includes("restoring"));

const rowsOnTheirWay = (url: string) => async () => {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query(
    "select 1 from pg_stat_activity where application_name = 'postern-restore' and query like 'insert%'",
  );
  await client.end();
  return rows.length > 0;
};

const begun = (looks: () => Promise<boolean>) =>
  expect.poll(looks, { timeout: 60_000, interval: 5 }).toBe(true);

it("a restore that is killed anywhere leaves the database as it was, and the next one tidies up after it (ST-11)", async () => {
  const source = `sqlite:${folder}/source.db`;
  await fill(source, "new", 6_000);
  const file = join(folder, "a.backup");
  expect(await postern(["backup", file], environment(source), folder)).toMatchObject({ code: 0 });
  const { url: server, drop } = await freshPostgresDatabase();
  const place = join(folder, "place");
  for (const url of [`sqlite:${place}/postern.db`, server]) {
    await fill(url, "old", 3);
    const child = spawn(process.execPath, [MAIN, "restore", file, "--force"], {
      cwd: folder,
      env: { PATH: process.env.PATH, ...environment(url) },
      stdio: "ignore",
    });
    const ended = once(child, "exit");
    await begun(url === server ? rowsOnTheirWay(server) : fileGrowing(place));
    child.kill("SIGKILL");
    await ended;
    // Killed before it was over, or just after: one or the other, and whole.
    const [name, count] = await users(url);
    expect([3, 6_000]).toContain(count);
    expect(name).toBe(count === 3 ? "old" : "new");
    expect(await postern(["restore", file, "--force"], environment(url), folder)).toMatchObject({ code: 0 });
    expect(await users(url)).toEqual(["new", 6_000]);
  }
  expect(readdirSync(place).filter((name) => name.includes("restoring"))).toEqual([]);
  await drop();
}, 120_000);
