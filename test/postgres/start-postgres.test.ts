import { spawn } from "node:child_process";
import { once } from "node:events";
import { createConnection } from "node:net";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { afterEach, describe, expect, inject, test, vi } from "vitest";
import { freshPostgresDatabase } from "./database.ts";
import { startPostgres } from "./start-postgres.ts";

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** "open" or "refused". */
async function probe(url: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = createConnection(Number(port), hostname);
  try {
    await once(socket, "connect");
    return "open";
  } catch {
    return "refused";
  } finally {
    socket.destroy();
  }
}

describe("the Postgres of the test run", () => {
  test("gives each file a database of its own and drops it under open connections", async () => {
    const [one, two] = await Promise.all([freshPostgresDatabase(), freshPostgresDatabase()]);
    await query(one.url, "create table only_here (id int)");
    await expect(query(two.url, "select * from only_here")).rejects.toThrow(/does not exist/);

    const open = new pg.Client({ connectionString: one.url });
    open.on("error", () => {});
    await open.connect();
    await Promise.all([one.drop(), two.drop()]);
    await expect(query(one.url, "select 1")).rejects.toThrow(/does not exist/);
    await open.end().catch(() => {});
  });

  test("an explicit server URL works too", async () => {
    const database = await freshPostgresDatabase(inject("postgresUrl"));
    expect(await query(database.url, "select 1 as one")).toEqual([{ one: 1 }]);
    await database.drop();
  });
});

describe("startPostgres", () => {
  afterEach(() => vi.unstubAllEnvs());

  test("POSTERN_TEST_DATABASE_URL names another server and nothing is started", async () => {
    vi.stubEnv("POSTERN_TEST_DATABASE_URL", "postgres://someone@127.0.0.1:1/postgres");
    const started = await startPostgres();
    expect(started.url).toBe("postgres://someone@127.0.0.1:1/postgres");
    await started.stop();
  });

  test.skipIf(process.platform !== "linux" || process.arch !== "x64")(
    "the server asks for its password, and ends when the process that started it is killed",
    async () => {
      const starter = fileURLToPath(new URL("start-postgres.ts", import.meta.url));
      const program = `
        const { startPostgres } = await import(${JSON.stringify(starter)});
        const { url } = await startPostgres();
        console.log(url);
        setInterval(() => {}, 1000);
      `;
      const env = { ...process.env, POSTERN_TEST_DATABASE_URL: "" };
      const owner = spawn(process.execPath, ["--input-type=module", "-e", program], { env });
      const [line] = (await once(owner.stdout.setEncoding("utf8"), "data")) as [string];
      const url = line.trim();
      expect(await query(url, "show fsync")).toEqual([{ fsync: "off" }]);
      const wrong = new URL(url);
      wrong.password = "wrong";
      await expect(query(wrong.href, "select 1")).rejects.toThrow(/password authentication failed/);

      owner.kill("SIGKILL");
      await expect.poll(() => probe(url), { timeout: 15_000 }).toBe("refused");
    },
  );
});
