import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { certificateAuthority } from "../../test/peers/certificates.ts";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { openOutbound, Seal } from "../base/index.ts";
import type { Database } from "../db/index.ts";
import {
  ConfigurationFault,
  checkDefinition,
  type DefinitionBody,
  definitionBody,
  reconcileFile,
  redacted,
  Upstreams,
} from "./index.ts";
import { definitionOf } from "./view.ts";

const ca = certificateAuthority();
const client = ca.issue(["gateway"]);
const otherClient = ca.issue(["gateway"]);
const full = {
  ca_cert_pem: ca.cert,
  client_cert_pem: client.cert,
  client_key_pem: client.key,
  server_name: "Inside.test",
};
const good: DefinitionBody = { name: "a", connection_string: "https://a.example/mcp" };

describe("tls_config", () => {
  const encrypted = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    publicKeyEncoding: { format: "pem", type: "spki" },
    privateKeyEncoding: { format: "pem", type: "pkcs8", cipher: "aes-256-cbc", passphrase: "x" },
  }).privateKey;
  const weak = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const torn = ca.cert.replace(/\n.{20}/, "\n");

  it.each<[Partial<typeof full>, string]>([
    [{ ca_cert_pem: "no" }, "ca_cert_pem"],
    [{ ca_cert_pem: torn }, "ca_cert_pem"],
    [{ ca_cert_pem: ca.cert + torn }, "ca_cert_pem"],
    [{ ca_cert_pem: weak.publicKey.export({ format: "pem", type: "spki" }).toString() }, "ca_cert_pem"],
    [{ client_cert_pem: "no", client_key_pem: client.key }, "client_cert_pem"],
    [{ client_cert_pem: client.cert + client.key, client_key_pem: client.key }, "client_cert_pem"],
    [{ client_key_pem: client.key }, "client_cert_pem"],
    [{ client_cert_pem: client.cert }, "client_key_pem"],
    [{ client_cert_pem: client.cert, client_key_pem: "no" }, "client_key_pem"],
    [{ client_cert_pem: client.cert, client_key_pem: encrypted }, "client_key_pem"],
    [{ client_cert_pem: client.cert, client_key_pem: otherClient.key }, "client_key_pem"],
    [{ client_cert_pem: ca.cert + client.cert, client_key_pem: client.key }, "client_key_pem"],
    [{ server_name: "127.0.0.1" }, "server_name"],
    [{ server_name: "a.test:443" }, "server_name"],
    [{ server_name: "a b" }, "server_name"],
    [{ server_name: "ä.test" }, "server_name"],
    [{ server_name: "a.test\r\nX: y" }, "server_name"],
  ])("refuses %j", (tls_config, field) => {
    expect(() => checkDefinition({ ...good, tls_config })).toThrow(
      expect.objectContaining({ code: "invalid_tls_config", kind: "invalid", param: `tls_config.${field}` }),
    );
  });

  it("says nothing of a key that it refuses", () => {
    const tls_config = { client_cert_pem: client.cert, client_key_pem: `${client.key.slice(0, 60)}!secret` };
    expect(() => checkDefinition({ ...good, tls_config })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining("secret") }),
    );
  });

  it("goes with https only, and refuses what it does not know", () => {
    const plain = { ...good, connection_string: "http://a.example/mcp", tls_config: full };
    expect(() => checkDefinition(plain)).toThrow(
      expect.objectContaining({ code: "invalid_tls_config", param: "tls_config" }),
    );
    expect(definitionBody.safeParse({ ...good, tls_config: { insecure: true } }).success).toBe(false);
  });

  it.each([null, {}, { ca_cert_pem: "", client_key_pem: null, insecure_skip_verify: false }])(
    "%j is none",
    (tls_config) => {
      expect(checkDefinition({ ...good, tls_config }).tls).toBeUndefined();
    },
  );

  it("keeps the certificates and nothing beside them", () => {
    const text = `Subject: CN=ours\r\n${ca.cert.replaceAll("\n", "\r\n")}\n# and\n${client.cert}`;
    const { tls } = checkDefinition({ ...good, tls_config: { ca_cert_pem: text } });
    expect(tls?.settings.caCertPem).toBe(ca.cert + client.cert);
  });

  it("AD-10 leaves a certificate unchecked only where the operator named the address", () => {
    const body = { ...good, tls_config: { insecure_skip_verify: true } };
    expect(() => checkDefinition(body)).toThrow(
      expect.objectContaining({
        code: "invalid_tls_config",
        param: "tls_config.insecure_skip_verify",
        message: expect.stringContaining("a.example:443"),
      }),
    );
    const named = checkDefinition(body, undefined, ({ host }) => host === "a.example");
    expect(named.tls?.settings.insecureSkipVerify).toBe(true);
  });
});

async function parts(database: Database, allow: string[] = []) {
  const outbound = openOutbound({ allow: { admin: allow, stranger: [] } });
  const world = testWorld(outbound);
  const seal = new Seal([world.random(32)], world.random);
  const make = async () => {
    const upstreams = new Upstreams({ world, database, seal, settings: testSettings() });
    await upstreams.load();
    return upstreams;
  };
  return { make, upstreams: await make(), database };
}

onBothDatabases("tls_config", (open) => {
  const start = async (allow?: string[]) => parts((await open()).database, allow);
  const body: DefinitionBody = { ...good, tls_config: full };

  it("ST-01 is sealed, survives a restart, and reads with the key redacted", async () => {
    const { upstreams, make, database } = await start();
    const { id } = await upstreams.create(upstreams.check(body), "api");
    const row = await database.db.selectFrom("upstreams").selectAll().executeTakeFirstOrThrow();
    const stored = JSON.stringify(row) + Buffer.from(row.sealed_tls!).toString("latin1");
    expect(stored).not.toContain("PRIVATE KEY");
    expect(stored).not.toContain("inside.test");
    const again = (await make()).get(id);
    expect(again.tls?.settings.clientKeyPem?.reveal()).toBe(client.key);
    expect(definitionOf(again).tls_config).toEqual({
      ...full,
      server_name: "inside.test",
      client_key_pem: redacted,
    });
    expect(JSON.stringify(again)).not.toContain("PRIVATE KEY");
  });

  it("sent back as it was read, changes nothing", async () => {
    const { upstreams } = await start();
    const before = await upstreams.create(upstreams.check(body), "api");
    const after = await upstreams.update(before.id, definitionOf(before));
    expect(after.generation).toBe(before.generation);
    expect(after.updatedAt).toBe(before.updatedAt);
    expect(after.tls?.settings.clientKeyPem?.reveal()).toBe(client.key);
  });

  it("changes by field, null removes, and each change is a new generation", async () => {
    const { upstreams } = await start();
    const { id } = await upstreams.create(
      upstreams.check({ ...good, tls_config: { server_name: "x.test" } }),
      "api",
    );
    const more = await upstreams.update(id, { tls_config: { ca_cert_pem: ca.cert } });
    expect(more.generation).toBe(2);
    expect(more.tls?.settings).toMatchObject({ caCertPem: ca.cert, serverName: "x.test" });
    const less = await upstreams.update(id, { tls_config: { server_name: null } });
    expect([less.generation, less.tls?.settings.serverName]).toEqual([3, undefined]);
    const none = await upstreams.update(id, { tls_config: null });
    expect([none.generation, none.tls]).toEqual([4, undefined]);
    expect(none.state).toBe(more.state);
  });

  it("AD-10 a redacted secret is not kept when tls_config changes, whichever it is", async () => {
    const { upstreams } = await start();
    const keyed = { ...body, auth_type: "headers" as const, headers: { "X-Key": "static-secret" } };
    const { id } = await upstreams.create(upstreams.check(keyed), "api");
    const refused = (patch: Partial<DefinitionBody>, param: string) =>
      expect(upstreams.update(id, patch)).rejects.toMatchObject({ code: "secret_required", param });
    await refused({ tls_config: { server_name: "evil.test" } }, "headers.x-key");
    await refused({ tls_config: null }, "headers.x-key");
    await refused(
      { tls_config: { server_name: "evil.test" }, headers: { "x-key": redacted } },
      "headers.x-key",
    );
    const headers = { "X-Key": "static-secret-2" };
    await refused({ tls_config: { server_name: "evil.test" }, headers }, "tls_config.client_key_pem");
    await refused({ tls_config: { client_key_pem: "****edited" }, headers }, "tls_config.client_key_pem");
    const tls_config = { server_name: "good.test", client_key_pem: client.key };
    expect((await upstreams.update(id, { tls_config, headers })).generation).toBe(2);

    const personal = {
      ...body,
      name: "b",
      auth_type: "per_user_oauth" as const,
      oauth_config: { client_id: "x", client_secret: "client-secret" },
    };
    const oauth = await upstreams.create(upstreams.check(personal), "api");
    const change = { tls_config };
    await expect(upstreams.update(oauth.id, change)).rejects.toMatchObject({
      code: "secret_required",
      param: "oauth_config.client_secret",
    });
    await upstreams.update(oauth.id, { ...change, oauth_config: { client_secret: "client-secret" } });
    // The mask of another's key is nobody's key.
    const foreign = { ...good, name: "c", tls_config: { ...full, client_key_pem: redacted } };
    expect(() => upstreams.check(foreign)).toThrow(expect.objectContaining({ code: "secret_required" }));
  });

  it("insecure_skip_verify is refused by create, change and file unless the address is named", async () => {
    const tls_config = { insecure_skip_verify: true };
    const param = "tls_config.insecure_skip_verify";
    const { upstreams, database } = await start();
    const { id } = await upstreams.create(upstreams.check(good), "api");
    await expect(upstreams.update(id, { tls_config })).rejects.toMatchObject({ param });
    const entry = { ...good, name: "f", tls_config };
    await expect(reconcileFile(upstreams, [entry])).rejects.toThrow(ConfigurationFault);
    const named = await parts(database, ["a.example:443"]);
    expect((await named.upstreams.update(id, { tls_config })).tls?.settings.insecureSkipVerify).toBe(true);
  });

  it("an upstream whose address is named no more can still be changed otherwise", async () => {
    const { upstreams } = await start();
    const unchecked = checkDefinition(
      { ...good, tls_config: { insecure_skip_verify: true } },
      undefined,
      () => true,
    );
    const { id } = await upstreams.create(unchecked, "api");
    expect((await upstreams.update(id, { disabled: true })).disabled).toBe(true);
    await expect(upstreams.update(id, { tls_config: { server_name: "x.test" } })).rejects.toMatchObject({
      code: "invalid_tls_config",
    });
  });

  it("another entry of the file replaces it whole", async () => {
    const { upstreams } = await start();
    await reconcileFile(upstreams, [body]);
    await reconcileFile(upstreams, [body]);
    expect(upstreams.findByName("a")).toMatchObject({ generation: 1 });
    await reconcileFile(upstreams, [{ ...good, tls_config: { ca_cert_pem: ca.cert } }]);
    expect(upstreams.findByName("a")).toMatchObject({ generation: 2 });
    expect(upstreams.findByName("a")?.tls?.settings.clientKeyPem).toBeUndefined();
  });
});
