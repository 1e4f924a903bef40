import type { Column, Value } from "./format.ts";
import { openPostgresSnapshot } from "./postgres-snapshot.ts";
import { openSqliteSnapshot } from "./sqlite-snapshot.ts";

/** A database as it was at one moment, while others go on writing to it. */
export interface Snapshot {
  readonly kind: "sqlite" | "postgres";
  /** The migrations it has seen, oldest first; empty when it is no database of ours. */
  migrations(): Promise<string[]>;
  /** The columns of a table; empty when there is none of that name. */
  columns(table: string): Promise<Column[]>;
  /** All rows, a few hundred at a time. */
  rows(table: string, columns: readonly Column[]): AsyncIterable<Value[][]>;
  /** What is wrong with the database as a file, in words; empty when nothing is. */
  faults(): Promise<string[]>;
  close(): Promise<void>;
}

/** How many rows are in memory at once. */
export const BATCH_ROWS = 500;

/** Opens without changing anything: nothing is migrated, and no file is made. */
export function openSnapshot(url: string): Promise<Snapshot> {
  return url.startsWith("sqlite:")
    ? openSqliteSnapshot(url.slice("sqlite:".length))
    : openPostgresSnapshot(url);
}
