/*
 * A backup is gzip over lines of JSON, the same for both databases. First a `Header`; then for each table a `TableHead`,
 * its rows as arrays in the order of the columns (bytes as base64), and a `TableEnd`; last a `BackupEnd`. Checksums are
 * SHA-256, base64url, over the lines as they are written, newlines included.
 */

export const FORMAT = "postern-backup";
export const FORMAT_VERSION = 1;

export interface Header {
  format: typeof FORMAT;
  format_version: number;
  /** The version of the gateway that wrote it. */
  postern: string;
  /** RFC 3339. */
  made_at: string;
  database: "sqlite" | "postgres";
  /** The migrations its schema has seen, oldest first. */
  migrations: string[];
  /** The ids of the encryption keys that open it. They themselves are not in it. */
  key_ids: string[];
}

export interface Column {
  name: string;
  bytes: boolean;
}

/** A value as both databases give it. */
export type Value = string | number | null | Uint8Array;

export interface TableHead {
  table: string;
  columns: Column[];
}

export interface TableEnd {
  end: string;
  rows: number;
  /** Of the lines of its rows. */
  sha256: string;
}

export interface BackupEnd {
  end_of_backup: true;
  tables: number;
  rows: number;
  /** Of every line before this one. */
  sha256: string;
}

/** The file is none of ours, damaged, cut off or too new; the message says which, and what to do. */
export class BackupFault extends Error {
  override name = "BackupFault";
}

export function toLine(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

export function rowToLine(row: readonly Value[]): string {
  return toLine(
    row.map((value) => (value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value)),
  );
}
