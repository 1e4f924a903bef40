import { randomBytes } from "node:crypto";
import { existsSync, linkSync, readdirSync, rmSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Kysely, sql } from "kysely";
import { openSqlite } from "../sqlite.ts";
import type { Tables } from "../tables.ts";
import { BackupFault } from "./format.ts";
import { loadBackup } from "./load.ts";
import { holdsSomething } from "./occupied.ts";
import type { RestoreOptions } from "./restore.ts";

const LEAVINGS = ["", "-wal", "-shm", "-journal"];

/**
 * Builds the database beside its place and moves it there when it is whole. What was there keeps its content under
 * another name, which is returned; nobody may have it open meanwhile.
 */
export async function restoreSqlite(path: string, options: RestoreOptions): Promise<string | undefined> {
  if (path === ":memory:") throw new BackupFault("A database in memory cannot be restored into.");
  const old = existsSync(path) ? takeOver(path, options.force) : undefined;
  removeUnfinished(path);
  const building = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString("hex")}.restoring`);
  try {
    await build(building, options);
    const aside = old?.holdsSomething ? keepAside(path, options.now) : undefined;
    await rename(building, path);
    await sync(dirname(path));
    return aside;
  } finally {
    old?.close();
    for (const suffix of LEAVINGS) rmSync(building + suffix, { force: true });
  }
}

/** What a restore left that was killed: a copy of the database, which nobody would look for. */
function removeUnfinished(path: string): void {
  const folder = dirname(path);
  if (!existsSync(folder)) return;
  const left = readdirSync(folder).filter(
    (name) => name.startsWith(`.${basename(path)}.`) && name.includes(".restoring"),
  );
  for (const name of left) rmSync(join(folder, name), { force: true });
}

async function build(path: string, options: RestoreOptions): Promise<void> {
  const handle = new Kysely<Tables>({ dialect: openSqlite(path).dialect });
  try {
    await handle.transaction().execute(async (tx) => {
      const header = await loadBackup(tx, "sqlite", options);
      await options.finish(tx, "sqlite", header);
    });
    await proveSound(handle);
    await sql`pragma wal_checkpoint(truncate)`.execute(handle);
  } finally {
    await handle.destroy();
  }
  await sync(path);
}

async function proveSound(handle: Kysely<Tables>): Promise<void> {
  const { rows } = await sql<{ integrity_check: string }>`pragma integrity_check(1)`.execute(handle);
  const { rows: strays } = await sql<{ table: string }>`pragma foreign_key_check`.execute(handle);
  const said = rows[0]?.integrity_check;
  if (said !== "ok")
    throw new BackupFault(`The restored database is not sound: ${said}. Nothing was changed.`);
  if (strays[0])
    throw new BackupFault(`The backup has rows of ${strays[0].table} without what they belong to.`);
}

/** Holds the database that is there so that no gateway can open it; refuses when one has, or when it holds something. */
function takeOver(path: string, force: boolean): { holdsSomething: boolean; close(): void } {
  const database = new DatabaseSync(path, { timeout: 1000 });
  try {
    // Only its last connection may take a database out of WAL mode; what was in the journal is in the file then.
    database.exec("pragma journal_mode = delete; begin exclusive");
    const count = (table: string) =>
      Number(database.prepare(`select count(*) as n from (select 1 from "${table}" limit 1)`).get()!.n);
    const names = database.prepare("select name from sqlite_schema where type = 'table'").all();
    const occupied = holdsSomething(new Set(names.map(({ name }) => String(name))), count);
    if (occupied && !force)
      throw new BackupFault(
        `There is a database at ${path} already. Restore into an empty one, or add --force: the present one is then kept under another name.`,
      );
    return { holdsSomething: occupied, close: () => database.close() };
  } catch (error) {
    database.close();
    const { message } = error as Error;
    if (/locked|busy/.test(message))
      throw new BackupFault(`The database ${path} is in use. Stop the gateway first.`);
    if (/not a database/.test(message))
      throw new BackupFault(`${path} is no database. Move it away, then restore.`);
    throw error;
  }
}

/** A second name for the same file: at no moment is there no database, in whose place a gateway would make an empty one. */
function keepAside(path: string, now: Date): string {
  const stamp = now.toISOString().replace(/[-:]/g, "").replace(/\..*/, "Z");
  const aside = `${path}.before-restore-${stamp}`;
  linkSync(path, aside);
  return aside;
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
