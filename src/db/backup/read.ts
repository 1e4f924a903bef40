import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { access } from "node:fs/promises";
import { createGunzip } from "node:zlib";
import {
  type BackupEnd,
  BackupFault,
  type Column,
  FORMAT,
  FORMAT_VERSION,
  type Header,
  type TableEnd,
  type TableHead,
  type Value,
} from "./format.ts";

const BATCH_ROWS = 500;
/** No row of ours comes near; a file that is none of ours must not fill the memory. */
const MAX_LINE = 64 * 1024 * 1024;

export type Piece =
  | { kind: "header"; header: Header }
  | { kind: "table"; table: string; columns: Column[] }
  | { kind: "rows"; rows: Value[][] }
  | { kind: "end"; rows: number };

/**
 * The backup in pieces. Checks as it goes: order, row counts, checksums, that nothing is missing at the end. Nothing that
 * it hands over is proved before `end` has come: who acts on it must be able to take it back. Throws `BackupFault`.
 */
export async function* readBackup(path: string): AsyncGenerator<Piece> {
  const reader = new Reader();
  try {
    for await (const line of linesOf(path)) yield* reader.take(line);
  } catch (error) {
    throw asFault(error, path);
  }
  yield* reader.finish();
}

/** Reads it all and hands over nothing: the header and the number of rows of a backup that is whole. */
export async function verifyBackup(path: string): Promise<{ header: Header; rows: number }> {
  let header: Header | undefined;
  let rows = 0;
  for await (const piece of readBackup(path)) {
    if (piece.kind === "header") header = piece.header;
    if (piece.kind === "end") rows = piece.rows;
  }
  return { header: header!, rows };
}

class Reader {
  readonly #whole = createHash("sha256");
  #header = false;
  #ended = false;
  #tables = 0;
  #rows = 0;
  #table: { head: TableHead; sum: ReturnType<typeof createHash>; rows: number } | undefined;
  #batch: Value[][] = [];

  /** `line`: without its newline. */
  *take(line: string): Generator<Piece> {
    if (this.#ended) throw damaged("something follows its end");
    const value: unknown = parse(line);
    if (!this.#header) {
      this.#header = true;
      yield { kind: "header", header: checkHeader(value) };
    } else if (Array.isArray(value)) {
      yield* this.#row(line, value);
    } else yield* this.#mark(value as TableHead | TableEnd | BackupEnd);
    if (!this.#ended) this.#whole.update(`${line}\n`);
  }

  *finish(): Generator<Piece> {
    if (!this.#ended) throw new BackupFault("The backup is cut off: it has no end. Use another one.");
    yield { kind: "end", rows: this.#rows };
  }

  *#row(line: string, value: unknown[]): Generator<Piece> {
    const table = this.#table;
    if (!table) throw damaged("a row stands outside a table");
    table.sum.update(`${line}\n`);
    table.rows += 1;
    this.#batch.push(decode(value, table.head.columns));
    if (this.#batch.length >= BATCH_ROWS) yield this.#handOver();
  }

  *#mark(value: TableHead | TableEnd | BackupEnd): Generator<Piece> {
    if ("table" in value) {
      if (this.#table) throw damaged(`${this.#table.head.table} has no end`);
      this.#table = { head: value, sum: createHash("sha256"), rows: 0 };
      this.#tables += 1;
      yield { kind: "table", table: value.table, columns: value.columns };
    } else if ("end" in value) {
      if (this.#batch.length > 0) yield this.#handOver();
      this.#endTable(value);
    } else this.#end(value);
  }

  #endTable({ end, rows, sha256 }: TableEnd): void {
    const table = this.#table;
    if (table?.head.table !== end) throw damaged(`${end} ends and did not begin`);
    if (table.rows !== rows || table.sum.digest("base64url") !== sha256)
      throw damaged(`the rows of ${end} are not those that were written`);
    this.#rows += rows;
    this.#table = undefined;
  }

  #end({ tables, rows, sha256 }: BackupEnd): void {
    if (this.#table) throw damaged(`${this.#table.head.table} has no end`);
    if (tables !== this.#tables || rows !== this.#rows || this.#whole.digest("base64url") !== sha256)
      throw damaged("its checksum does not fit");
    this.#ended = true;
  }

  #handOver(): Piece {
    const rows = this.#batch;
    this.#batch = [];
    return { kind: "rows", rows };
  }
}

function checkHeader(value: unknown): Header {
  const header = value as Header;
  if (header?.format !== FORMAT) throw new BackupFault("This file is no backup of Postern.");
  if (header.format_version > FORMAT_VERSION)
    throw new BackupFault(
      `The backup was written by a newer version of Postern (${header.postern}). Restore it with that version.`,
    );
  return header;
}

function decode(row: unknown[], columns: readonly Column[]): Value[] {
  if (row.length !== columns.length) throw damaged("a row has too many or too few values");
  return row.map((value, at) =>
    columns[at]!.bytes && typeof value === "string" ? Buffer.from(value, "base64") : (value as Value),
  );
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw damaged("a line is no JSON");
  }
}

async function* linesOf(path: string): AsyncGenerator<string> {
  await access(path);
  const file = createReadStream(path);
  const unzipped = createGunzip();
  file.on("error", (error) => unzipped.destroy(error));
  let rest: Buffer[] = [];
  let length = 0;
  for await (const chunk of file.pipe(unzipped) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      rest.push(chunk.subarray(from, at));
      yield Buffer.concat(rest).toString("utf8");
      rest = [];
      length = 0;
      from = at + 1;
    }
    length += chunk.length - from;
    if (length > MAX_LINE) throw damaged("a line is too long");
    rest.push(chunk.subarray(from));
  }
  if (length > 0) throw new BackupFault("The backup is cut off: it has no end. Use another one.");
}

function damaged(what: string): BackupFault {
  return new BackupFault(`The backup is damaged (${what}). Use another one.`);
}

function asFault(error: unknown, path: string): unknown {
  const { code } = error as { code?: string };
  if (code === "ENOENT") return new BackupFault(`There is no file ${path}.`);
  if (code === "Z_BUF_ERROR")
    return new BackupFault("The backup is cut off: it has no end. Use another one.");
  if (code === "Z_DATA_ERROR") return new BackupFault("This file is no backup of Postern, or it is damaged.");
  return error;
}
