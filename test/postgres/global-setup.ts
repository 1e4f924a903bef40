import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import pg from "pg";
import type { TestProject } from "vitest/node";
import { openLog } from "../../src/base/index.ts";
import { openDatabase } from "../../src/db/index.ts";
import { markerBytes } from "../support/marked.ts";
import { freshPostgresDatabase } from "./database.ts";
import { startPostgres } from "./start-postgres.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The Postgres of this test run; its user may create databases. */
    postgresUrl: string;
    /** A database there with the newest schema and nothing in it, which nobody is connected with. */
    postgresTemplate: string;
  }
}

/** One Postgres for the whole run; each test makes its own databases (database.ts). */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const postgres = await startPostgres();
  project.provide("postgresUrl", postgres.url);
  const template = await freshPostgresDatabase(postgres.url);
  await (await openDatabase(template.url, openLog("silent"))).close();
  project.provide("postgresTemplate", new URL(template.url).pathname.slice(1));
  return async () => {
    const found = await secretsInServerFiles(postgres.url);
    await template.drop();
    await postgres.stop();
    if (found.length > 0)
      throw new Error(`ST-01: secrets in the files of Postgres:\n  ${found.join("\n  ")}`);
  };
}

/**
 * Holds the server's own files against the marker of every secret: what was updated, deleted and dropped during the run
 * still stands in its journal. Nothing of a server that is not ours can be read.
 */
async function secretsInServerFiles(url: string): Promise<string[]> {
  if (process.env.POSTERN_TEST_DATABASE_URL) return [];
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query("checkpoint");
  const { rows } = await client.query<{ data_directory: string }>("show data_directory");
  await client.end();
  const folder = rows[0]!.data_directory;
  const found: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    // The server goes on tidying up meanwhile.
    const bytes = await readFile(path).catch(() => Buffer.alloc(0));
    if (markerBytes.some((one) => bytes.includes(one))) found.push(relative(folder, path));
  }
  return found;
}
