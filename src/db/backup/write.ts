import { createHash, type Hash, randomBytes } from "node:crypto";
import { createWriteStream, existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { migrationNames } from "../migrate.ts";
import {
  BackupFault,
  type Column,
  FORMAT,
  FORMAT_VERSION,
  type Header,
  rowToLine,
  type TableHead,
  toLine,
  type Value,
} from "./format.ts";
import type { Snapshot } from "./snapshot.ts";
import { backedUp } from "./table-order.ts";

/** How much text goes to the compressor at once. */
const CHUNK = 64 * 1024;
const GZIP_LEVEL = 3;
const DAY_MS = 24 * 60 * 60 * 1000;

export interface BackupOptions {
  path: string;
  /** Replaces a file that is there. */
  force: boolean;
  /** The version of the gateway. */
  postern: string;
  now: Date;
  signal?: AbortSignal;
  /** Told now and then: which table, and how many rows so far in all. */
  progress?(table: string, rows: number): void;
}

export interface Written {
  header: Header;
  rows: number;
}

/**
 * Writes a backup beside where it is to be, readable by this user only, and gives it its name when it is whole and on the
 * disk. Memory holds a few hundred rows. Throws `BackupFault` for what the operator can mend.
 */
export async function writeBackup(snapshot: Snapshot, options: BackupOptions): Promise<Written> {
  const { path, force, signal } = options;
  const refuse = () => {
    if (!force && existsSync(path))
      throw new BackupFault(`${path} exists already. Choose another name, or add --force.`);
  };
  refuse();
  removeUnfinished(path, options.now);
  const header = await headerOf(snapshot, options);
  const partial = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString("hex")}.partial`);
  const count = { rows: 0 };
  try {
    const file = await open(partial, "wx", 0o600);
    // `flush`: on the disk before it is closed.
    const out = createWriteStream(partial, { fd: file, flush: true });
    const lines = Readable.from(chunks(snapshot, header, count, options));
    await pipeline(lines, createGzip({ level: GZIP_LEVEL }), out, { signal });
    refuse();
    await rename(partial, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
  return { header, rows: count.rows };
}

/** What a backup of this name left that was killed; one of today may be another that still runs. */
function removeUnfinished(path: string, now: Date): void {
  const folder = dirname(path);
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    if (!name.startsWith(`.${basename(path)}.`) || !name.endsWith(".partial")) continue;
    const left = join(folder, name);
    if (now.getTime() - statSync(left).mtimeMs > DAY_MS) rmSync(left, { force: true });
  }
}

async function headerOf(snapshot: Snapshot, { postern, now }: BackupOptions): Promise<Header> {
  const migrations = await snapshot.migrations();
  if (migrations.length === 0) throw new BackupFault("This database holds nothing of Postern's yet.");
  const foreign = migrations.find((name) => !migrationNames.includes(name));
  if (foreign !== undefined)
    throw new BackupFault(
      `This database belongs to a newer version of Postern (it has ${foreign}). Use that version for the backup.`,
    );
  const faults = await snapshot.faults();
  if (faults.length > 0)
    throw new BackupFault(
      `The database file is damaged, and a backup of it would be too: ${faults[0]}. Keep the backups you have.`,
    );
  return {
    format: FORMAT,
    format_version: FORMAT_VERSION,
    postern,
    made_at: now.toISOString(),
    database: snapshot.kind,
    migrations,
    key_ids: await keyIds(snapshot),
  };
}

/** Lines in pieces that are worth compressing, with the checksums that go with them. */
async function* chunks(
  snapshot: Snapshot,
  header: Header,
  count: { rows: number },
  { progress }: BackupOptions,
): AsyncGenerator<string> {
  const whole = createHash("sha256");
  let waiting = "";
  let tables = 0;
  for await (const text of lines(snapshot, header, count, progress)) {
    if (text.startsWith('{"table":')) tables += 1;
    whole.update(text);
    waiting += text;
    if (waiting.length < CHUNK) continue;
    yield waiting;
    waiting = "";
  }
  yield waiting +
    toLine({ end_of_backup: true, tables, rows: count.rows, sha256: whole.digest("base64url") });
}

async function* lines(
  snapshot: Snapshot,
  header: Header,
  count: { rows: number },
  progress: BackupOptions["progress"],
): AsyncGenerator<string> {
  yield toLine(header);
  for (const table of backedUp) {
    const columns = await snapshot.columns(table);
    // A backup of a database that is not upgraded yet: it has what it has.
    if (columns.length === 0) continue;
    yield toLine({ table, columns } satisfies TableHead);
    const sum = createHash("sha256");
    let rows = 0;
    for await (const batch of snapshot.rows(table, columns)) {
      yield encode(batch, sum);
      rows += batch.length;
      count.rows += batch.length;
      progress?.(table, count.rows);
    }
    yield toLine({ end: table, rows, sha256: sum.digest("base64url") });
  }
}

function encode(batch: readonly Value[][], sum: Hash): string {
  const text = batch.map((row) => rowToLine(row)).join("");
  sum.update(text);
  return text;
}

/** The keys outside the database that wrap its data keys, and the one its first value was sealed with before there were any. */
async function keyIds(snapshot: Snapshot): Promise<string[]> {
  const ids = new Set<string>();
  const wrapped = await snapshot.columns("data_keys");
  const by = wrapped.filter(({ name }) => name === "wrapped_by");
  for await (const batch of by.length > 0 ? snapshot.rows("data_keys", by) : [])
    for (const [id] of batch) if (typeof id === "string") ids.add(id);
  if (ids.size > 0) return [...ids].toSorted();
  const sealed: Column[] = [{ name: "sealed", bytes: true }];
  for await (const batch of snapshot.rows("instance", sealed))
    for (const [value] of batch) if (value instanceof Uint8Array) ids.add(directKeyId(value));
  return [...ids].toSorted();
}

/** base/seal.ts: the version, then eight bytes that name the key. */
function directKeyId(sealed: Uint8Array): string {
  return Buffer.from(sealed.subarray(1, 9)).toString("hex");
}

/** A rename is only on the disk when its folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
