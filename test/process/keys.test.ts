import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it, vi } from "vitest";
import { command } from "../../src/commands/keys.ts";
import { loadConfig } from "../../src/config.ts";
import { startTransitServer } from "../peers/transit-server.ts";
import { postern } from "../support/command.ts";
import { startGateway } from "../support/gateway.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const newKey = () => randomBytes(32).toString("base64");

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "postern-keys-"));
  closing.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A database in which something is sealed in every column of upstreams and their clients that a definition fills. */
async function furnished(at: string, key: string): Promise<string> {
  const databaseUrl = `sqlite:${at}/postern.db`;
  const usual = {
    connection_type: "http" as const,
    connection_string: "https://mcp.example.com/mcp",
    tools_to_execute: ["*"],
  };
  const oauth_config = { client_id: "postern", client_secret: "the secret of a client" };
  const headers = { "X-Api-Key": "a secret header" };
  const gateway = await startGateway({
    databaseUrl,
    encryptionKey: key,
    configure: (config) => {
      config.upstreams = [
        { ...usual, name: "fixed", auth_type: "headers", headers },
        { ...usual, name: "guarded", auth_type: "per_user_oauth", oauth_config },
      ];
    },
  });
  await gateway.stop();
  return databaseUrl;
}

it("the key-encryption key is changed: rotate, and it says what may go; too early ends with 2 and says what is missing", async () => {
  const at = folder();
  const [old, fresh] = [newKey(), newKey()];
  const url = await furnished(at, old);
  const run = (args: string[], key: string) =>
    postern(args, { POSTERN_DATABASE_URL: url, POSTERN_ENCRYPTION_KEY: key }, at);
  const digest = () =>
    createHash("sha256")
      .update(readFileSync(join(at, "postern.db")))
      .digest("hex");

  const before = digest();
  const early = await run(["keys", "verify"], fresh);
  expect(early.code).toBe(2);
  expect(early.said).toMatch(
    /2 of its 2 data keys, which seal \d+ values, are wrapped by [0-9a-f]{16} \(local\)/,
  );
  expect(early.said).not.toContain(old);
  expect(digest()).toBe(before);

  const rotated = await run(["keys", "rotate"], `${fresh},${old}`);
  expect(rotated).toMatchObject({ code: 0 });
  expect(rotated.said).toMatch(/Wrapped anew with [0-9a-f]{16}: 2 data keys\./);
  expect(rotated.said).toMatch(/may be removed from the configuration: [0-9a-f]{16} \(local\)/);
  const verified = await run(["keys", "verify"], fresh);
  expect(verified).toMatchObject({ code: 0 });
  expect(verified.said).toMatch(/^[1-9]\d* values open\./m);
}, 120_000);

it("the key moves to Vault; a provider that refuses ends the start with 2, one that is down with 1", async () => {
  const at = folder();
  const key = newKey();
  const url = await furnished(at, key);
  const vault = await startTransitServer("a token of the tests");
  closing.push(() => vault.close());
  const provider = {
    type: "vault_transit",
    address: vault.address,
    key: "postern",
    namespace: "team",
    token: "env.VAULT_TOKEN",
  };
  const config = join(at, "postern.config.json");
  const configure = (...key_providers: object[]) => writeFileSync(config, JSON.stringify({ key_providers }));
  const run = (args: string[], more: Record<string, string> = {}) =>
    postern(
      args,
      { POSTERN_DATABASE_URL: url, POSTERN_CONFIG: config, VAULT_TOKEN: "a token of the tests", ...more },
      at,
    );

  configure(provider, { type: "local" });
  const rotated = await run(["keys", "rotate"], { POSTERN_ENCRYPTION_KEY: key });
  expect(rotated.said).toContain("Wrapped anew with transit/postern: 2 data keys.");
  expect(rotated.said).toMatch(/may be removed from the configuration: [0-9a-f]{16} \(local\)/);
  configure(provider);
  const refused = await run(["serve"], { VAULT_TOKEN: "an expired token" });
  expect(refused.code).toBe(2);
  expect(refused.said).toContain("permission denied");
  expect(refused.said).not.toContain("an expired token");
  vault.instead = 503;
  const down = await run(["serve"]);
  expect(down.code).toBe(1);
  expect(down.said).toContain("cannot be asked for the key transit/postern: it answered 503");
}, 120_000);

it("a provider that cannot be is refused by the configuration; a command makes no database", async () => {
  const at = folder();
  const POSTERN_CONFIG = join(at, "postern.config.json");
  const POSTERN_DATABASE_URL = `sqlite:${at}/none.db`;
  const load = (entry: object) => {
    writeFileSync(POSTERN_CONFIG, JSON.stringify({ key_providers: [entry] }));
    return () => loadConfig({ environment: { POSTERN_CONFIG, POSTERN_DATABASE_URL } });
  };
  expect(load({ type: "aws_kms" })).toThrow("a provider of type aws_kms needs key");
  const vault = { type: "vault_transit", address: "https://vault.example.com", key: "postern" };
  expect(load(vault)).toThrow("exactly one of token and token_file");
  expect(load({ type: "local", region: "eu-central-1" })).toThrow("region has no meaning");
  expect(load({ type: "aws_kms", key: "alias/postern" })().encryptionKeys).toEqual([]);
  const surplus = { POSTERN_CONFIG, POSTERN_DATABASE_URL, POSTERN_ENCRYPTION_KEY: newKey() };
  expect(() => loadConfig({ environment: surplus })).toThrow('key_providers has no {"type": "local"}');
  vi.stubEnv("POSTERN_DATABASE_URL", POSTERN_DATABASE_URL);
  vi.stubEnv("POSTERN_ENCRYPTION_KEY", newKey());
  await expect(command.run(["list"])).rejects.toThrow("nothing in this database");
  await expect(command.run(["lst"])).rejects.toThrow("Unknown: keys lst.");
  vi.unstubAllEnvs();
});
