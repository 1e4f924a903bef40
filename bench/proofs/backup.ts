/*
 * Backup and restore of a large database, with how long they take and how much memory: node bench/proofs/backup.ts [--rows 1000000] [--write]
 *
 * SQLite to a file, the file to SQLite and to Postgres, Postgres to a file. Each is the command as operators run it. Fails when a
 * table has other rows afterwards, or when a command takes more than 512 MiB.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { openLog } from "../../src/base/index.ts";
import { openDatabase } from "../../src/db/index.ts";
import { freshPostgresDatabase } from "../../test/postgres/database.ts";
import { startPostgres } from "../../test/postgres/start-postgres.ts";
import { place, writeSection } from "./results.ts";

const { values } = parseArgs({
  options: { rows: { type: "string", default: "1000000" }, write: { type: "boolean", default: false } },
});
const rows = Number(values.rows);
const folder = mkdtempSync(join(tmpdir(), "postern-backup-proof-"));
const main = join(import.meta.dirname, "../../src/main.ts");
const key = Buffer.alloc(32).fill("a key of a proof, and no other").toString("base64");
const MIB = 1024 * 1024;

/** Credentials, tokens of one grant, and lines of the audit trail. */
async function fill(path: string): Promise<void> {
  await (await openDatabase(`sqlite:${path}`, openLog("silent"))).close();
  const database = new DatabaseSync(path);
  const series = (n: number) =>
    `with recursive s(n) as (select 1 union all select n + 1 from s where n < ${n}) `;
  const detail = JSON.stringify({ name: "a-tool", outcome: "ok", duration_ms: 12, account: "" });
  database.exec(`
    begin;
    insert into upstreams (id, name, source, connection_type, auth_type, definition_json, allow_on_all_virtual_keys, disabled, state,
      generation, created_at, updated_at) values ('mcp_1', 'a', 'api', 'http', 'per_user_oauth', '{}', 1, 0, 'healthy', 1, 1, 1);
    insert into clients values ('client_1', 'dcr', 'hash', 'c', '[]', null, 1);
    insert into grants (id, client_row_id, client_name, owner_mode, owner_id, redirect_uri, scope, resource, status, created_at,
      idle_until, ends_at) values ('grant_1', 'client_1', 'c', 'user', 'u', 'r', 'mcp', 'm', 'active', 1, 9e12, 9e12);
    ${series(Math.round(rows * 0.2))} insert into credentials (id, kind, owner_mode, owner_id, upstream_id, account, status, orphaned,
      generation, sealed, created_at, updated_at)
      select 'cred_' || n, 'oauth', 'user', 'user_' || n, 'mcp_1', '', 'active', 0, 1, randomblob(400), n, n from s;
    ${series(Math.round(rows * 0.1))} insert into tokens (hash, grant_id, kind, created_at, expires_at)
      select hex(randomblob(20)), 'grant_1', 'access', n, 9e12 from s;
    ${series(Math.round(rows * 0.7))} insert into audit select printf('aud_%012d', n), n, 'call.done', 'grant:g', 'user', 'user_' || n, 'mcp_1',
      'req_' || n, '${detail}' from s;
    commit;`);
  database.close();
}

interface Measured {
  seconds: number;
  mib: number;
}

/** Runs the command; its highest memory as the system counts it. */
async function run(databaseUrl: string, ...args: string[]): Promise<Measured> {
  const begun = performance.now();
  const child = spawn(process.execPath, [main, ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, POSTERN_DATABASE_URL: databaseUrl, POSTERN_ENCRYPTION_KEY: key },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let mib = 0;
  const look = setInterval(() => {
    const [, kib] = /VmHWM:\s+(\d+)/.exec(status(child.pid!)) ?? [];
    mib = Math.max(mib, Number(kib ?? 0) / 1024);
  }, 50);
  const [said, error] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  clearInterval(look);
  assert.equal(child.exitCode, 0, said + error);
  assert.ok(mib < 512, `${args[0]} took ${mib} MiB`);
  return { seconds: (performance.now() - begun) / 1000, mib };
}

function status(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return "";
  }
}

async function counts(url: string): Promise<Record<string, number>> {
  const database = await openDatabase(url, openLog("silent"));
  const found: Record<string, number> = {};
  for (const table of ["credentials", "tokens", "grants", "upstreams"] as const) {
    const { n } = await database.db
      .selectFrom(table)
      .select((all) => all.fn.countAll().as("n"))
      .executeTakeFirstOrThrow();
    found[table] = Number(n);
  }
  await database.close();
  return found;
}

const source = `sqlite:${folder}/source.db`;
await fill(`${folder}/source.db`);
const before = await counts(source);
const server = await startPostgres();
const { url: postgres, drop } = await freshPostgresDatabase(server.url);
const file = join(folder, "a.backup");
const measured: [string, Measured][] = [];
measured.push(["backup of SQLite", await run(source, "backup", file)]);
measured.push(["restore into SQLite", await run(`sqlite:${folder}/copy.db`, "restore", file)]);
measured.push(["restore into Postgres", await run(postgres, "restore", file)]);
measured.push(["backup of Postgres", await run(postgres, "backup", join(folder, "b.backup"))]);
assert.deepEqual(await counts(`sqlite:${folder}/copy.db`), before);
assert.deepEqual(await counts(postgres), before);
const sizes = ["source.db", "a.backup", "copy.db"].map((name) => statSync(join(folder, name)).size / MIB);
await drop();
await server.stop();
rmSync(folder, { recursive: true, force: true });

const lines = [
  `${place()} · \`node bench/proofs/backup.ts --rows ${rows} --write\``,
  "",
  `${rows.toLocaleString("en")} rows (a fifth credentials, a tenth tokens, the rest audit lines): a SQLite file of ${sizes[0]!.toFixed(0)} MiB, a backup of`,
  `${sizes[1]!.toFixed(0)} MiB, and ${sizes[2]!.toFixed(0)} MiB restored.`,
  "",
  "| command | seconds | highest memory of the process, MiB |",
  "|---|---|---|",
  ...measured.map(([what, { seconds, mib }]) => `| ${what} | ${seconds.toFixed(1)} | ${mib.toFixed(0)} |`),
];
console.log(lines.join("\n"));
if (values.write) writeSection(new URL("../proofs.md", import.meta.url), "Backup and restore", lines);
