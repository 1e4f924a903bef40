import { expect, it } from "vitest";
import { startAuthorizationServer } from "../../test/peers/identity-provider.ts";
import { startModernUpstream } from "../../test/peers/modern-upstream.ts";
import { checkDefinition } from "./index.ts";
import { AS, behaving, challenge, closing, type Peer, PRM, peer, registering, start } from "./oauth.suite.ts";

it("finds the server by the 401, registers once and keeps to what was recorded", async () => {
  const { mcp, as } = await behaving();
  const { oauth, upstream } = await start([mcp, as], `${mcp.origin}/mcp`);
  expect(await oauth.recorded(upstream)).toBeUndefined();
  const [first, second] = await Promise.all([oauth.prepare(upstream), oauth.prepare(upstream)]);
  expect(first).toMatchObject({
    configId: upstream.oauthConfigId,
    issuer: as.origin,
    client: { client_id: "dcr-1" },
    redirectUri: `http://localhost:8080/api/oauth/callback/${upstream.id}`,
    resource: `${mcp.origin}/mcp`,
    scopes: ["read"],
    server: { token_endpoint: `${as.origin}/token`, revocation_endpoint: `${as.origin}/revoke` },
  });
  expect(second.client).toEqual(first.client);
  expect(as.paths()).toEqual([AS, "POST /register"]);
  const registered = JSON.parse(as.seen[1]!.body);
  expect(registered).toMatchObject({
    redirect_uris: [first.redirectUri],
    application_type: "native",
    grant_types: ["authorization_code", "refresh_token"],
    token_endpoint_auth_method: "client_secret_post",
  });
  const [mcpSeen, asSeen] = [mcp.seen.length, as.seen.length];
  expect((await oauth.prepare(upstream)).client.client_id).toBe("dcr-1");
  expect([mcp.seen.length, as.seen.length]).toEqual([mcpSeen, asSeen]);
  const body = new URLSearchParams();
  await first.clientAuth(first.server, first.client, body, new Headers());
  expect(Object.fromEntries(body)).toEqual({ client_id: "dcr-1", client_secret: "dcr-secret-1" });
});

it("finds it without a 401: well-known with the path, at the root, OpenID Connect, a path in the issuer", async () => {
  const { mcp, as, metadata } = await behaving();
  mcp.answers["POST /mcp"] = undefined;
  mcp.answers[`${PRM}/mcp`] = undefined;
  mcp.answers[PRM] = { resource: mcp.origin, authorization_servers: [`${as.origin}/tenant`] };
  as.answers[AS] = undefined;
  as.answers["GET /tenant/.well-known/openid-configuration"] = { ...metadata, issuer: `${as.origin}/tenant` };
  const { oauth, upstream } = await start([mcp, as], `${mcp.origin}/mcp`);
  expect(await oauth.prepare(upstream)).toMatchObject({
    issuer: `${as.origin}/tenant`,
    resource: mcp.origin,
  });
  expect(as.paths()).toEqual([
    `${AS}/tenant`,
    "GET /.well-known/openid-configuration/tenant",
    "GET /tenant/.well-known/openid-configuration",
    "POST /register",
  ]);
});

it("an upstream without RFC 9728 metadata is its own authorization server, at its origin", async () => {
  const { as, metadata } = await behaving();
  const { oauth, upstream } = await start([as], `${as.origin}/mcp`);
  const found = await oauth.prepare(upstream);
  expect(found).toMatchObject({ issuer: metadata.issuer, resource: `${as.origin}/mcp` });
});

it("scopes an administrator changes later are asked for next time, without another registration", async () => {
  const { mcp, as } = await behaving();
  const { oauth, upstream, upstreams } = await start([mcp, as], `${mcp.origin}/mcp`);
  await oauth.prepare(upstream);
  const changed = await upstreams.update(upstream.id, { oauth_config: { scopes: ["read", "write"] } });
  expect(await oauth.prepare(changed)).toMatchObject({
    scopes: ["read", "write"],
    client: { client_id: "dcr-1" },
  });
});

it("a client id that was given is used with its secret; nothing is registered", async () => {
  const { mcp, as } = await behaving();
  const given = { client_id: "mine", client_secret: "my-secret", resource: "", scopes: ["a", "b"] };
  const { oauth, upstream } = await start([mcp, as], `${mcp.origin}/mcp`, { oauth_config: given });
  const found = await oauth.prepare(upstream);
  expect(found).toMatchObject({ client: { client_id: "mine" }, scopes: ["a", "b"] });
  expect(found.resource).toBeUndefined();
  expect(as.paths()).toEqual([AS]);
  const body = new URLSearchParams();
  await found.clientAuth(found.server, found.client, body, new Headers());
  expect(body.get("client_secret")).toBe("my-secret");
});

it("uses its client document where the server takes one and our address is https", async () => {
  const { mcp, as, metadata } = await behaving();
  as.answers[AS] = { ...metadata, client_id_metadata_document_supported: true };
  const baseUrl = new URL("https://gate.example");
  const { oauth, upstream } = await start([mcp, as], `${mcp.origin}/mcp`, {}, { baseUrl });
  const found = await oauth.prepare(upstream);
  const address = `https://gate.example/oauth/client/${upstream.id}.json`;
  expect(found.client.client_id).toBe(address);
  expect(oauth.clientDocument(upstream)).toMatchObject({
    client_id: address,
    redirect_uris: [found.redirectUri],
    token_endpoint_auth_method: "none",
    application_type: "web",
  });
  expect(as.paths()).toEqual([AS]);
});

it("registers again when the registered secret has expired (RFC 7591 §3.2.1)", async () => {
  const { mcp, as } = await behaving();
  const { oauth, upstream, world } = await start([mcp, as], `${mcp.origin}/mcp`);
  const expires = Math.floor(world.now().getTime() / 1000) + 60;
  const secret = { client_id: "dcr-short", client_secret: "s", client_secret_expires_at: expires };
  as.answers["POST /register"] = registering(secret);
  await oauth.prepare(upstream);
  world.advance(61_000);
  expect(await oauth.recorded(upstream)).toBeUndefined();
  as.answers["POST /register"] = registering({ client_id: "dcr-2", client_secret: "s2" });
  expect((await oauth.prepare(upstream)).client.client_id).toBe("dcr-2");
  expect(as.paths().filter((path) => path === "POST /register")).toHaveLength(2);
});

it("UP-07 metadata of another issuer, or of none, is not used; no registration, no token call", async () => {
  const { mcp, as, metadata } = await behaving();
  for (const issuer of ["https://up1.example", undefined, `${as.origin}/other`]) {
    as.answers[AS] = { ...metadata, issuer };
    const { oauth, upstream } = await start([mcp, as], `${mcp.origin}/mcp`);
    await expect(oauth.prepare(upstream)).rejects.toMatchObject({ code: "oauth_metadata_invalid" });
    expect(await oauth.recorded(upstream)).toBeUndefined();
  }
  expect(as.paths()).not.toContain("POST /register");
});

it("UP-08 UP-13 endpoints at another origin are refused, unless an administrator names them", async () => {
  const { mcp, as, metadata } = await behaving();
  const evil = await peer();
  const fields = {
    authorization_endpoint: "authorize_url",
    token_endpoint: "token_url",
    registration_endpoint: "registration_url",
    revocation_endpoint: "revocation_url",
  };
  for (const [member, field] of Object.entries(fields)) {
    as.answers[AS] = { ...metadata, [member]: `${evil.origin}/x` };
    const refused = await start([mcp, as, evil], `${mcp.origin}/mcp`);
    await expect(refused.oauth.prepare(refused.upstream)).rejects.toMatchObject({
      code: "oauth_endpoint_foreign",
      param: `oauth_config.${field}`,
    });
    const named = { oauth_config: { client_id: "c", [field]: `${evil.origin}/x` } };
    const allowed = await start([mcp, as, evil], `${mcp.origin}/mcp`, named);
    expect((await allowed.oauth.prepare(allowed.upstream)).server).toMatchObject({
      [member]: `${evil.origin}/x`,
    });
  }
  expect(evil.seen).toEqual([]);
});

it("UP-10 without S256 nothing starts; naming both endpoints vouches for a server that only fails to say so", async () => {
  const { mcp, as, metadata } = await behaving();
  const both = { client_id: "c", authorize_url: `${as.origin}/authorize`, token_url: `${as.origin}/token` };
  for (const [methods, vouched] of [
    [undefined, true],
    [["plain"], false],
  ] as const) {
    as.answers[AS] = { ...metadata, code_challenge_methods_supported: methods };
    const { oauth, upstream } = await start([mcp, as], `${mcp.origin}/mcp`);
    await expect(oauth.prepare(upstream)).rejects.toMatchObject({ code: "pkce_unsupported" });
    const given = await start([mcp, as], `${mcp.origin}/mcp`, { oauth_config: both });
    const attempt = given.oauth.prepare(given.upstream);
    if (vouched) expect((await attempt).client.client_id).toBe("c");
    else await expect(attempt).rejects.toMatchObject({ code: "pkce_unsupported" });
  }
});

it("UP-11 metadata about another resource is refused", async () => {
  const { mcp, as } = await behaving();
  for (const resource of [
    "https://up1.example/mcp",
    `${mcp.origin}/other`,
    `${mcp.origin}/mc`,
    "x",
    undefined,
  ]) {
    mcp.answers[`${PRM}/mcp`] = { resource, authorization_servers: [as.origin] };
    const { oauth, upstream } = await start([mcp, as], `${mcp.origin}/mcp`);
    const code = resource === "x" || resource === undefined ? "oauth_metadata_invalid" : "resource_mismatch";
    await expect(oauth.prepare(upstream), String(resource)).rejects.toMatchObject({ code });
  }
  expect(as.seen).toEqual([]);
});

it("UP-12 UP-13 a 401 or metadata that lead elsewhere reach nothing", async () => {
  const { mcp, as } = await behaving();
  const canary = await peer();
  mcp.answers["POST /mcp"] = challenge(`resource_metadata="${canary.origin}/latest/meta-data/"`);
  const first = await start([mcp, as, canary], `${mcp.origin}/mcp`);
  await expect(first.oauth.prepare(first.upstream)).rejects.toMatchObject({ code: "oauth_metadata_invalid" });
  mcp.answers["POST /mcp"] = undefined;
  mcp.answers[`${PRM}/mcp`] = { resource: `${mcp.origin}/mcp`, authorization_servers: [canary.origin] };
  const second = await start([mcp], `${mcp.origin}/mcp`);
  await expect(second.oauth.prepare(second.upstream)).rejects.toMatchObject({
    code: "upstream_address_refused",
  });
  expect(canary.seen).toEqual([]);
});

it("UP-14 a registration that redirects is not followed", async () => {
  const { mcp, as } = await behaving();
  const evil = await peer();
  as.answers["POST /register"] = {
    raw: { status: 307, headers: { location: `${evil.origin}/register` }, json: {} },
  };
  const { oauth, upstream } = await start([mcp, as, evil], `${mcp.origin}/mcp`);
  await expect(oauth.prepare(upstream)).rejects.toMatchObject({ code: "client_registration_refused" });
  expect(evil.seen).toEqual([]);
});

it("UP-29 static headers go to the upstream alone", async () => {
  const { mcp, as } = await behaving();
  const { oauth, upstream } = await start([mcp, as], `${mcp.origin}/mcp`, { headers: { "x-key": "MARK" } });
  await oauth.prepare(upstream);
  expect(mcp.seen[0]?.headers["x-key"]).toBe("MARK");
  expect(JSON.stringify([...mcp.seen.slice(1), ...as.seen])).not.toContain("MARK");
});

it("a server that registers nobody asks for a client id", async () => {
  const { mcp, as, metadata } = await behaving();
  as.answers[AS] = { ...metadata, registration_endpoint: undefined };
  const { oauth, upstream } = await start([mcp, as], `${mcp.origin}/mcp`);
  await expect(oauth.prepare(upstream)).rejects.toMatchObject({
    code: "client_registration_required",
    param: "oauth_config.client_id",
  });
});

it("a change of the OAuth settings forgets what was found for the old ones", async () => {
  const { mcp, as } = await behaving();
  const { oauth, upstream, upstreams } = await start([mcp, as], `${mcp.origin}/mcp`);
  await oauth.prepare(upstream);
  const changed = await upstreams.update(upstream.id, { oauth_config: { client_id: "mine" } });
  expect(await oauth.recorded(changed)).toBeUndefined();
  expect((await oauth.prepare(changed)).client.client_id).toBe("mine");
});

it("UP-04 a second server without iss does not get the shared redirect URI", async () => {
  const [one, two] = [await behaving(), await behaving()];
  const shared = { oauth_config: { redirect: "shared" as const } };
  const { oauth, upstream, upstreams } = await start(
    [one.mcp, one.as, two.mcp, two.as],
    `${one.mcp.origin}/mcp`,
    shared,
  );
  expect((await oauth.prepare(upstream)).redirectUri).toBe("http://localhost:8080/api/oauth/callback");
  const body = {
    name: "two",
    connection_string: `${two.mcp.origin}/mcp`,
    auth_type: "per_user_oauth" as const,
  };
  const second = await upstreams.create(checkDefinition({ ...body, ...shared }), "api");
  await expect(oauth.prepare(second)).rejects.toMatchObject({ code: "shared_redirect_unsafe" });
  two.as.answers[AS] = { ...two.metadata, authorization_response_iss_parameter_supported: true };
  expect((await oauth.prepare(second)).issuer).toBe(two.as.origin);
});

it("finds and registers at a real provider, in front of a server of the official SDK", async () => {
  const provider = await startAuthorizationServer();
  closing.push(() => provider.close());
  const server = await startModernUpstream({ protection: { kind: "oauth", provider } });
  closing.push(() => server.close());
  const port = (url: string) => ({ port: Number(new URL(url).port) });
  const { oauth, upstream } = await start([port(server.url), port(provider.issuer)] as Peer[], server.url);
  const found = await oauth.prepare(upstream);
  expect(found).toMatchObject({ issuer: provider.issuer, resource: server.url });
  expect(found.client.client_id).not.toBe("");
});
