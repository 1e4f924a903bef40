import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, expect, it, vi } from "vitest";
import { credentials, type KmsServer, keyArn, region, startKmsServer } from "../../test/peers/kms-server.ts";
import { startTransitServer, type TransitServer } from "../../test/peers/transit-server.ts";
import { openLog } from "../base/index.ts";
import { openDatabase, WrongKey } from "../db/index.ts";
import { awsKms } from "./aws-kms.ts";
import { newKey, Replica } from "./keys.suite.ts";
import { LocalKeys } from "./local.ts";
import { overviewOf, removable } from "./overview.ts";
import { type KeyProvider, KeyProviderDown } from "./provider.ts";
import { vaultTransit } from "./vault-transit.ts";

const about = { dataKeyId: "0011223344556677", instanceId: "inst_1" };
const token = "hvs.token-of-the-tests";
const dataKey = randomBytes(32);
/** Long enough on a busy machine, except where nothing answers. */
let patience = { timeoutMs: 10_000, waitMs: 1 };
const closing: (() => unknown)[] = [];
afterEach(async () => {
  patience = { ...patience, timeoutMs: 10_000 };
  for (const close of closing.splice(0).reverse()) await close();
});

// The SDK takes them where every AWS tool does.
beforeAll(() => {
  for (const [name, value] of Object.entries(credentials)) vi.stubEnv(name, value);
  return () => vi.unstubAllEnvs();
});

async function vault(): Promise<TransitServer> {
  const server = await startTransitServer(token);
  closing.push(() => server.close());
  return server;
}

async function kms(): Promise<KmsServer> {
  const server = await startKmsServer();
  closing.push(() => server.close());
  return server;
}

function opened<T extends KeyProvider>(provider: T): T {
  closing.push(() => provider.close());
  return provider;
}

const transit = ({ address }: TransitServer, more: object = { token }) =>
  opened(vaultTransit({ address, key: "postern", namespace: "team", ...more }, patience));
const aws = ({ address }: KmsServer, more: object = {}) =>
  opened(awsKms({ address, key: keyArn, region, ...more }, patience));

/** What an operator reads; and that it says nothing it should not. */
async function refusalOf(work: Promise<unknown>, kind: new (...args: never[]) => Error): Promise<string> {
  const error = await work.then(
    () => undefined,
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(kind);
  const { message } = error as Error;
  for (const secret of [token, credentials.AWS_SECRET_ACCESS_KEY, dataKey.toString("base64")])
    expect(message).not.toContain(secret);
  return message;
}

it("Vault wraps and unwraps, bound to the data key and the instance", async () => {
  const server = await vault();
  const provider = transit(server);
  const wrapped = await provider.wrap(dataKey, about);
  expect(Buffer.from(wrapped.bytes).toString()).toMatch(/^vault:v1:/);
  expect(wrapped.by).toBe("transit/postern");
  expect(Buffer.from(await provider.unwrap(wrapped, about)).equals(dataKey)).toBe(true);
  expect(server.asked).toEqual([
    { path: "/v1/transit/encrypt/postern", namespace: "team" },
    { path: "/v1/transit/decrypt/postern", namespace: "team" },
  ]);
  for (const other of [
    { ...about, dataKeyId: "ff" },
    { ...about, instanceId: "inst_2" },
  ])
    await refusalOf(provider.unwrap(wrapped, other), WrongKey);
  server.versions.push(randomBytes(32));
  expect(Buffer.from((await provider.wrap(dataKey, about)).bytes).toString()).toMatch(/^vault:v2:/);
  expect(Buffer.from(await provider.unwrap(wrapped, about)).equals(dataKey)).toBe(true);
});

it("Vault's token is read anew for every request, as an agent renews it", async () => {
  const server = await vault();
  const folder = mkdtempSync(join(tmpdir(), "postern-token-"));
  closing.push(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "token");
  const provider = transit(server, { token_file: file });
  expect(await refusalOf(provider.wrap(dataKey, about), WrongKey)).toContain("cannot be read");
  writeFileSync(file, `${token}\n`);
  const wrapped = await provider.wrap(dataKey, about);
  server.token = "another";
  expect(await refusalOf(provider.unwrap(wrapped, about), WrongKey)).toContain("permission denied");
  writeFileSync(file, "another");
  expect(Buffer.from(await provider.unwrap(wrapped, about)).equals(dataKey)).toBe(true);
});

it("what Vault refuses is one sentence; what passes is tried again, a bounded number of times", async () => {
  const server = await vault();
  const said = (more: object) => refusalOf(transit(server, more).wrap(dataKey, about), WrongKey);
  expect(await said({ token: "wrong" })).toBe(
    `Vault at ${server.address} refuses to use the key transit/postern: permission denied. The token may have expired, or its policy lacks update on transit/encrypt/postern.`,
  );
  expect(await said({ token, key: "other" })).toContain("does not know the key");
  expect(await said({ token, namespace: "elsewhere" })).toContain("nothing is mounted there");
  server.instead = 503;
  server.asked.length = 0;
  expect(await refusalOf(transit(server).wrap(dataKey, about), KeyProviderDown)).toContain("503 (sealed");
  expect(server.asked).toHaveLength(5);
  const back = transit(server).wrap(dataKey, about);
  server.instead = undefined;
  expect((await back).by).toBe("transit/postern");
  await server.close();
  expect(await refusalOf(transit(server).wrap(dataKey, about), KeyProviderDown)).toContain(
    "could not be reached",
  );
  expect(() => vaultTransit({ address: "http://vault.example.com", key: "k", token })).toThrow(
    "must be https",
  );
});

it("AWS KMS wraps and unwraps, signed, with the encryption context of this instance", async () => {
  const server = await kms();
  const provider = aws(server);
  const wrapped = await provider.wrap(dataKey, about);
  expect(wrapped.by).toBe(keyArn);
  expect(Buffer.from(await provider.unwrap(wrapped, about)).equals(dataKey)).toBe(true);
  const context = { "postern:instance": "inst_1", "postern:data_key": about.dataKeyId };
  expect(server.asked).toEqual([
    { action: "Encrypt", context },
    { action: "Decrypt", context },
  ]);
  expect(await refusalOf(provider.unwrap(wrapped, { ...about, instanceId: "inst_2" }), WrongKey)).toContain(
    "something else was wrapped",
  );
});

it("what AWS refuses is one sentence in our words; what passes is tried again, a bounded number of times", async () => {
  const server = await kms();
  const said = async (error: string) => {
    server.instead = { status: 400, error };
    return refusalOf(aws(server).wrap(dataKey, about), WrongKey);
  };
  expect(await said("AccessDeniedException")).toBe(
    `AWS KMS refuses to use the key ${keyArn}: permission denied. The policy must allow kms:Encrypt and kms:Decrypt on this key.`,
  );
  expect(await said("DisabledException")).toContain("disabled");
  expect(await said("KMSInvalidStateException")).toContain("about to be deleted");
  expect(await said("NotFoundException")).toContain("no such key");
  expect(await said("UnrecognizedClientException")).toContain("does not know the credentials");
  server.instead = { status: 500, error: "KMSInternalException" };
  expect(await refusalOf(aws(server).wrap(dataKey, about), KeyProviderDown)).toContain(
    "KMSInternalException",
  );
  server.instead = undefined;
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "wrong");
  expect(await refusalOf(aws(server).wrap(dataKey, about), WrongKey)).toContain(
    "does not accept the credentials",
  );
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", credentials.AWS_SECRET_ACCESS_KEY);
  await server.close();
  await refusalOf(aws(server).wrap(dataKey, about), KeyProviderDown);
});

it("moves from a configured key to Vault to AWS while values stay as they are, and each may then go", async () => {
  const database = await openDatabase("sqlite::memory:", openLog("silent"));
  closing.push(() => database.close());
  const direct = [newKey()];
  const local = new LocalKeys(direct, randomBytes);
  const [v, a] = [transit(await vault()), aws(await kms())];
  const first = await Replica.start(database, { direct });
  await first.write("a", "secret");
  const sealed = Buffer.from(await first.ciphertext("a"));
  const second = await Replica.start(database, { direct, providers: [v, local] });
  await second.rotate();
  expect(removable(await overviewOf(second))).toMatchObject([{ provider: "local" }]);
  const third = await Replica.start(database, { providers: [a, v] });
  await third.rotate();
  expect(removable(await overviewOf(third))).toMatchObject([{ provider: "vault_transit" }]);
  const last = await Replica.start(database, { providers: [a] });
  expect(await last.read("a")).toBe("secret");
  expect(Buffer.from(await last.ciphertext("a")).equals(sealed)).toBe(true);
  await expect(Replica.start(database, { providers: [v] })).rejects.toThrow(`wrapped by ${keyArn}`);
});

it("a new database needs no configured key where a provider is named", async () => {
  const database = await openDatabase("sqlite::memory:", openLog("silent"));
  closing.push(() => database.close());
  const server = await kms();
  const one = await Replica.start(database, { providers: [aws(server)] });
  await one.write("a", "secret");
  const asked = server.asked.length;
  for (let i = 0; i < 100; i++) expect(await one.read("a")).toBe("secret");
  // Never for a value.
  expect(server.asked).toHaveLength(asked);
  const again = await Replica.start(database, { providers: [aws(server)] });
  expect(await again.read("a")).toBe("secret");
});

it("one that does not answer is given up after a bounded time", async () => {
  patience = { ...patience, timeoutMs: 50 };
  const [v, k] = [await vault(), await kms()];
  v.instead = "silence";
  k.instead = "silence";
  expect(await refusalOf(transit(v).wrap(dataKey, about), KeyProviderDown)).toContain(
    "did not answer in time",
  );
  expect(await refusalOf(aws(k).wrap(dataKey, about), KeyProviderDown)).toContain("TimeoutError");
  expect(v.asked).toHaveLength(5);
});
