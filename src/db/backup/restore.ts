import type { Tx } from "../open.ts";
import type { Header } from "./format.ts";
import { checkVersion } from "./load.ts";
import { restorePostgres } from "./postgres-target.ts";
import { verifyBackup } from "./read.ts";
import { restoreSqlite } from "./sqlite-target.ts";

export interface RestoreOptions {
  path: string;
  /** Where to: `sqlite:<path>` or `postgres://…`. */
  url: string;
  /** Puts aside what is there, instead of refusing. */
  force: boolean;
  now: Date;
  /** Runs in the transaction, after every row is there: what must hold before the database counts. A throw undoes it all. */
  finish(tx: Tx, kind: "sqlite" | "postgres", header: Header): Promise<void>;
  progress?(table: string, rows: number): void;
}

export interface Restored {
  header: Header;
  rows: number;
  /** Where the database is kept that was there before. */
  keptAside?: string;
}

/**
 * Makes a database from a backup, of the same kind or the other. The file is read whole before anything is written; then
 * it happens in one step, or not at all. Throws `BackupFault` for what the operator can mend.
 */
export async function restoreBackup(options: RestoreOptions): Promise<Restored> {
  const { header, rows } = await verifyBackup(options.path);
  checkVersion(header);
  const keptAside = options.url.startsWith("sqlite:")
    ? await restoreSqlite(options.url.slice("sqlite:".length), options)
    : await restorePostgres(options.url, options);
  return { header, rows, keptAside };
}
