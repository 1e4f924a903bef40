import { randomBytes } from "node:crypto";
import pg from "pg";
import type {} from "./global-setup.ts";

export interface FreshDatabase {
  url: string;
  /** Ends every connection to it and removes it. */
  drop(): Promise<void>;
}

/** What looks at each of these databases once more before it is dropped. */
export const beforeDrop: ((url: string) => Promise<void>)[] = [];

/**
 * Creates an empty database with a name of its own on the server of this test run, or on `serverUrl` where given
 * (outside Vitest, for example in the demo).
 */
export async function freshPostgresDatabase(serverUrl?: string): Promise<FreshDatabase> {
  return create(serverUrl ?? (await provided("postgresUrl")), "");
}

/** The same with every table there and no row in any: a copy, which takes less than the migrations do. */
export async function migratedPostgresDatabase(): Promise<FreshDatabase> {
  return create(await provided("postgresUrl"), `template ${await provided("postgresTemplate")}`);
}

async function create(server: string, from: string): Promise<FreshDatabase> {
  const name = `postern_test_${randomBytes(8).toString("hex")}`;
  await run(server, `create database ${name} ${from}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    drop: async () => {
      for (const look of beforeDrop) await look(url.href);
      await run(server, `drop database if exists ${name} with (force)`);
    },
  };
}

async function provided(name: "postgresUrl" | "postgresTemplate"): Promise<string> {
  // Only here: outside a test run the module cannot be loaded.
  const { inject } = await import("vitest");
  return inject(name);
}

async function run(server: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: server, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
