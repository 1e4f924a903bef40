import { afterEach, describe } from "vitest";
import { type Database, openDatabase } from "../../src/db/index.ts";
import { migratedPostgresDatabase } from "../postgres/database.ts";
import { watchedLog } from "./leavings.ts";

/** Opens a handle; `url` a second one on a database that is already open (another replica). */
export type OpenDatabase = (url?: string) => Promise<{ database: Database; url: string }>;

/**
 * The same suite on SQLite and on Postgres. Each `open()` without a URL gives a fresh, empty database; all of them are
 * closed and dropped after the test.
 */
export function onBothDatabases(
  name: string,
  suite: (open: OpenDatabase, kind: "sqlite" | "postgres") => void,
): void {
  describe.each(["sqlite", "postgres"] as const)(`${name} on %s`, (kind) => {
    const closing: (() => Promise<unknown>)[] = [];
    afterEach(async () => {
      for (const close of closing.splice(0).reverse()) await close();
    });
    suite(async (url) => {
      const at = url ?? (kind === "sqlite" ? "sqlite::memory:" : await fresh(closing));
      const database = await openDatabase(at, watchedLog());
      closing.push(() => database.close());
      return { database, url: at };
    }, kind);
  });
}

async function fresh(closing: (() => Promise<unknown>)[]): Promise<string> {
  const { url, drop } = await migratedPostgresDatabase();
  closing.push(drop);
  return url;
}
