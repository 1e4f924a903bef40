import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { gzipSync } from "node:zlib";
import pg from "pg";
import { describe, expect, it } from "vitest";
import { Hidden, KeyedHash, newSecret } from "../../src/base/index.ts";
import { freshPostgresDatabase } from "../postgres/database.ts";
import { startGateway } from "../support/gateway.ts";
import { examine, takeFindings, watchedLog } from "../support/leavings.ts";
import { marked, markedRandom, markedSecret, marker } from "../support/marked.ts";
import { SecretScanner } from "../support/secret-scanner.ts";

const own = 'a secret that a test wrote, without any mark: ü/"?';

const ways: [name: string, write: (text: string) => string | Buffer][] = [
  ["as it is", (text) => `before ${text} after`],
  ["in a JSON string", (text) => JSON.stringify({ deep: [text] })],
  ["in a form", (text) => new URLSearchParams({ secret: text }).toString().replaceAll("+", "%20")],
  ["in a URL", (text) => `https://a.example/?secret=${encodeURIComponent(text)}`],
  ["percent-encoded throughout", (text) => Buffer.from(text).toString("hex").replaceAll(/../g, "%$&")],
  ["in hexadecimal", (text) => Buffer.from(text).toString("hex")],
  ["in upper case hexadecimal", (text) => Buffer.from(text).toString("hex").toUpperCase()],
  ["in UTF-16", (text) => Buffer.from(text, "utf16le")],
  ["in base64", (text) => Buffer.from(text).toString("base64")],
  ["in base64url", (text) => Buffer.from(text).toString("base64url")],
  ["one byte further in base64", (text) => Buffer.from(`:${text}:`).toString("base64")],
  ["two bytes further in base64url", (text) => Buffer.from(`a:${text}:`).toString("base64url")],
  ["as Basic credentials", (text) => Buffer.from(`the-client:${text}`).toString("base64")],
  ["packed by gzip", (text) => Buffer.concat([Buffer.from("row"), gzipSync(text), Buffer.from("row")])],
];

describe("the scanner", () => {
  it.each(ways)("finds the marker and an exact value %s", (_, write) => {
    const scanner = new SecretScanner([[own, "an own word"]]);
    const find = (text: string) => scanner.find(Buffer.from(write(text))).map(({ secret }) => secret);
    expect(find(marked("password"))).toContain("the marker");
    expect(find(own)).toContain("an own word");
    expect(find("nothing of the kind, whatever is done to it")).toEqual([]);
  });

  it("finds what our own randomness made, as text and as bytes, and tells nobody the value", () => {
    const scanner = new SecretScanner();
    const secret = newSecret({ random: markedRandom }, "pst_");
    expect(secret).toContain(marker);
    expect(new Set(Array.from({ length: 100 }, () => newSecret({ random: markedRandom }))).size).toBe(100);
    const found = scanner.find(Buffer.from(`{"access_token":"${secret}"}`));
    expect(found).toHaveLength(1);
    expect(JSON.stringify(found)).not.toContain(secret.slice(4, 30));
    expect(JSON.stringify(found)).toContain("access_token");
    for (const bytes of [markedRandom(32), Buffer.from(Buffer.from(markedRandom(32)).toString("hex"))])
      expect(scanner.find(bytes)).toHaveLength(1);
  });

  it("is quick: a megabyte against a thousand secrets", () => {
    const secrets = Array.from({ length: 1000 }, (_, at) => [markedSecret(`s${at}`), "one"] as const);
    const scanner = new SecretScanner(secrets);
    const bytes = Buffer.from(markedRandom(31).toString().repeat(20_000)).subarray(0, 1_000_000);
    const before = performance.now();
    scanner.find(bytes);
    // 20 ms where nothing else runs: only that nobody makes it a thousand times slower.
    expect(performance.now() - before).toBeLessThan(5_000);
  });
});

describe("what every test is held against finds what is planted", () => {
  const found = () => takeFindings().map((line) => line.split(":")[0]);

  it("in the log, in the message of an error too", () => {
    const log = watchedLog();
    log.debug("test.planted", { nothing: "of the kind" });
    expect(found()).toEqual([]);
    log.debug("test.planted", { value: markedSecret() });
    log.warn("test.planted", { error: new Error(`refused ${markedSecret()}`) });
    expect(found()).toContain("the log");
  });

  it("among values that only the gateway took for secrets", () => {
    const word = "plain-words-of-a-test";
    examine("before", word);
    expect(found()).toEqual([]);
    expect(new Hidden(word).reveal()).toBe(word);
    new KeyedHash(new Uint8Array(32)).of("access_token", "presented-and-hashed");
    examine("hidden", word);
    examine("hashed", "x presented-and-hashed x");
    expect(found()).toEqual(["hidden", "hashed"]);
  });

  it("in what a gateway answers", async () => {
    const gateway = await startGateway();
    await gateway.admin("GET", "/api/mcp/clients");
    expect(found()).toEqual([]);
    const { fetch } = gateway.gateway;
    gateway.gateway.fetch = async (request) =>
      new URL(request.url).pathname === "/planted"
        ? new Response(`<p>${markedSecret()}</p>`, { status: 400, headers: { "x-planted": markedSecret() } })
        : fetch(request);
    await (await globalThis.fetch(`${gateway.url}/planted`)).text();
    expect(found().sort()).toEqual([
      "the answer to GET /planted (400)",
      "the header x-planted of GET /planted (400)",
    ]);
    await gateway.stop();
  });
});

describe("what every test is held against finds in databases", () => {
  it("what stands in a column, in memory and in a file, and what waits in a journal", async () => {
    const folder = await mkdtemp(join(tmpdir(), "postern-scan-"));
    for (const path of [":memory:", join(folder, "planted.db")]) {
      const database = new DatabaseSync(path);
      database.exec("pragma journal_mode = wal; create table one (name text, bytes blob)");
      database.prepare("insert into one values ('name', ?)").run(Buffer.from(markedSecret()));
      database.close();
      expect(takeFindings().join()).toContain("the database");
    }
    const wal = join(folder, "journal.db");
    const database = new DatabaseSync(wal);
    database.exec("pragma journal_mode = wal; pragma secure_delete = on; create table one (text text)");
    database.prepare("insert into one values (?)").run(markedSecret());
    database.exec("delete from one");
    database.close();
    // Gone from every page, and still in the journal.
    expect(takeFindings()).toEqual([expect.stringContaining("the file <database>-wal: the marker")]);
    await rm(folder, { recursive: true });
  });

  it("what stands in any table of Postgres, bytes too", async () => {
    // Not the marker: the server's own files are searched for that when the run ends (test/postgres/global-setup.ts).
    const word = new Hidden("words-of-a-test-in-postgres").reveal();
    const { url, drop } = await freshPostgresDatabase();
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query("create table one (name text, bytes bytea, json jsonb)");
    await client.query("insert into one values ('a', $1, null), ('b', null, $2)", [
      Buffer.from(word),
      JSON.stringify({ word }),
    ]);
    await client.end();
    await drop();
    const found = takeFindings();
    expect(found).toEqual([expect.stringContaining("hexadecimal"), expect.stringContaining("as it is")]);
    expect(found[0]).toContain("the Postgres database");
  });
});
