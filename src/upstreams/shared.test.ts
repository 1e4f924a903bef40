import { generateKeyPairSync } from "node:crypto";
import { afterEach, expect, it } from "vitest";
import { startAuthorizationServer } from "../../test/peers/identity-provider.ts";
import { startModernUpstream } from "../../test/peers/modern-upstream.ts";
import { onBothDatabases } from "../../test/support/databases.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { openOutbound, Seal } from "../base/index.ts";
import { checkDefinition, type DefinitionBody, UpstreamOAuth, Upstreams } from "./index.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const pem = privateKey.export({ format: "pem", type: "pkcs8" }) as string;
const robot = { grant_type: "client_credentials" as const, client_id: "robot" };

onBothDatabases("an upstream with a shared credential", (open) => {
  async function start(oauth_config?: DefinitionBody["oauth_config"]) {
    const provider = await startAuthorizationServer();
    const server = await startModernUpstream({ protection: { kind: "oauth", provider } });
    const allow = [new URL(provider.issuer).host, new URL(server.url).host];
    const outbound = openOutbound({ allow: { admin: allow, stranger: [] } });
    closing.push(
      () => provider.close(),
      () => server.close(),
      () => outbound.close(),
    );
    const world = testWorld(outbound);
    const { database } = await open();
    const seal = new Seal([world.random(32)], world.random);
    const parts = { world, database, seal, settings: testSettings() };
    const upstreams = new Upstreams(parts);
    const body = { name: "up", connection_string: server.url, auth_type: "oauth" as const, oauth_config };
    const upstream = await upstreams.create(checkDefinition(body), "api");
    const oauth = new UpstreamOAuth(parts);
    const state = () => {
      const { state, lastFailure } = upstreams.get(upstream.id);
      return [state, lastFailure?.code];
    };
    return { ...parts, provider, server, upstreams, upstream, oauth, state };
  }

  it("stays needs_reauth, whatever its tools do, until there is a credential again", async () => {
    const { upstreams, upstream, database, state } = await start();
    const { id } = upstream;
    await upstreams.recordTools(id, [{ name: "echo" }]);
    await database.transaction((tx) => upstreams.recordLost(tx, id, "refresh_invalid_grant"));
    await upstreams.settled();
    expect(state()).toEqual(["needs_reauth", "shared_credential_lost"]);
    await upstreams.recordFailure(id, { code: "upstream_timeout", message: "Slow.", at: 1 });
    await upstreams.recordTools(id, [{ name: "echo" }, { name: "late" }]);
    expect(state()).toEqual(["needs_reauth", "shared_credential_lost"]);
    await database.transaction((tx) => upstreams.recordRegained(tx, id));
    await upstreams.settled();
    expect(state()).toEqual(["healthy", undefined]);
    await upstreams.recordFailure(id, { code: "upstream_timeout", message: "Slow.", at: 1 });
    expect(state()).toEqual(["unstable", "upstream_timeout"]);
  });

  it("is not said to have lost what only a kind before this one had", async () => {
    const { upstreams, upstream, database, state } = await start();
    await upstreams.replace(
      upstream.id,
      checkDefinition({ name: "up", connection_string: upstream.url.href, auth_type: "none" }),
    );
    await database.transaction((tx) => upstreams.recordLost(tx, upstream.id, "configuration_changed"));
    await upstreams.settled();
    expect(state()[0]).toBe("pending_verification");
  });

  it("keeps what was discovered when only its proof changes, and proves itself in the new way", async () => {
    const { upstreams, upstream, oauth, provider } = await start({ ...robot, client_secret: "one" });
    const before = await oauth.prepare(upstream);
    expect(before).toMatchObject({ authMethod: "client_secret_basic", grantType: "client_credentials" });
    expect(before.scopes).toEqual(["mcp"]);
    const keep = { oauth_config: { client_secret: "********" } };
    const { oauthVersion: version } = await upstreams.update(upstream.id, keep);
    expect(await upstreams.update(upstream.id, keep)).toMatchObject({ oauthVersion: version });
    expect(await upstreams.update(upstream.id, { oauth_config: { client_secret: "one" } })).toMatchObject({
      oauthVersion: version,
    });
    provider.forgetRequests();
    const changed = await upstreams.update(upstream.id, {
      oauth_config: { client_secret: null, private_key: pem, private_key_id: "k" },
    });
    expect(changed.oauthVersion).not.toBe(version);
    expect(changed.generation).toBe(upstream.generation);
    const after = (await oauth.recorded(changed))!;
    expect(after).toMatchObject({
      authMethod: "private_key_jwt",
      privateKeyId: "k",
      clientSecret: undefined,
    });
    expect(after.privateKey!.reveal()).toBe(pem);
    expect(provider.requests.metadata).toBe(0);
  });

  it("AD-10 a kept private key is not aimed at another address, resource or profile", async () => {
    const { upstreams, upstream } = await start({ ...robot, private_key: pem });
    for (const change of [{ token_url: "https://evil.example/t" }, { resource: "https://evil.example/" }]) {
      await expect(upstreams.update(upstream.id, { oauth_config: change })).rejects.toMatchObject({
        code: "secret_required",
        param: "oauth_config.private_key",
      });
    }
    await upstreams.update(upstream.id, {
      oauth_config: { resource: "https://x.example/", private_key: pem },
    });
    expect(upstreams.get(upstream.id).oauth?.resource).toBe("https://x.example/");
  });

  it("needs no more than a token endpoint to obtain a token of its own, and sends nobody anywhere", async () => {
    const { upstream, oauth, provider } = await start({ ...robot, client_secret: "one" });
    provider.editMetadata = ({ issuer, token_endpoint }) => ({ issuer, token_endpoint });
    const { server } = await oauth.prepare(upstream);
    expect(server.authorization_endpoint).toBeUndefined();
    expect(server.token_endpoint).toBe(`${provider.issuer}/token`);
  });

  it("registers anew only when the provider agrees; a refusal leaves everything as it was", async () => {
    const { upstream, oauth, provider } = await start();
    const before = await oauth.prepare(upstream);
    const demanded: string[] = [];
    const also = async () => void demanded.push("now");
    // Also what is asked for when all that may be wanted is too much.
    provider.faults.failNext("registration", { status: 400, body: { error: "invalid_client_metadata" } }, 2);
    await expect(oauth.reregister(upstream, also)).rejects.toMatchObject({
      code: "client_registration_refused",
    });
    expect((await oauth.recorded(upstream))!.client.client_id).toBe(before.client.client_id);
    expect(demanded).toEqual([]);
    const failing = async () => {
      throw new Error("the store fails");
    };
    await expect(oauth.reregister(upstream, failing)).rejects.toThrow("the store fails");
    expect((await oauth.recorded(upstream))!.client.client_id).toBe(before.client.client_id);
    await oauth.reregister(upstream, also);
    expect(demanded).toEqual(["now"]);
    expect((await oauth.recorded(upstream))!.client.client_id).not.toBe(before.client.client_id);
  });
});

it("says what to do for every way in which a credential dies", async () => {
  const { lostFailure } = await import("./lost-credential.ts");
  const said = (oauth: object, reason: string) => lostFailure({ oauth } as never, reason, 1).message;
  const own = { grantType: "client_credentials" };
  expect(said(own, "token_invalid_client")).toContain("client_secret or private_key");
  expect(said(own, "token_invalid_scope")).toContain("scopes");
  expect(said(own, "token_invalid_target")).toContain("resource");
  expect(said(own, "rejected_by_upstream")).toContain("upstream refuses");
  expect(said(own, "token_refused")).toContain("log");
  for (const reason of ["refresh_invalid_grant", "configuration_changed", "revoked", "expired"])
    expect(said({}, reason)).toContain("…/reauthorize");
});
