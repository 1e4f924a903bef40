import { generateKeyPairSync } from "node:crypto";
import type { CallToolResult, Client } from "@modelcontextprotocol/client";
import { expect, test } from "vitest";
import type { AuthorizationServerOptions } from "../peers/identity-provider.ts";
import { startModernUpstream } from "../peers/modern-upstream.ts";
import { eventually } from "./steps/eventually.ts";
import { Management } from "./steps/management.ts";
import { openWithBearer, textOf } from "./steps/mcp-client.ts";
import { startProtectedUpstream } from "./steps/peers.ts";
import { Administrator, assertPage } from "./steps/person.ts";
import { journeys, type Stage } from "./steps/stage.ts";

const whoami = { name: "team-whoami" };
const HOUR_MS = 60 * 60_000;
const REFUSED = "team cannot be used now: an administrator must connect its shared account again.";

function isRefused(result: CallToolResult): void {
  expect(result.isError).toBe(true);
  expect(textOf(result)).toBe(REFUSED);
  expect(JSON.stringify(result)).not.toMatch(/https?:/);
}

/** A gateway with an administrator in front of an upstream behind a real provider. */
async function office(stage: Stage, options: AuthorizationServerOptions = {}) {
  const guarded = stage.keep(await startProtectedUpstream(options));
  const gateway = await stage.gateway(guarded.allow);
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const operator = stage.keep(new Administrator());
  await operator.setUp(gateway.setupLink);
  const { provider, upstream } = guarded;
  const create = (oauth_config?: object) =>
    admin.createUpstream({
      name: "team",
      connection_string: upstream.url,
      auth_type: "oauth",
      ...(oauth_config ? { oauth_config } : {}),
    });
  const entry = async () => (await admin.expect(200, "GET", "/api/mcp/clients")).clients[0];
  const post = (id: string, action: string) => admin.expect(200, "POST", `/api/mcp/client/${id}/${action}`);
  return { gateway, admin, operator, provider, upstream, create, entry, post };
}

type Office = Awaited<ReturnType<typeof office>>;

async function connect({ operator, admin }: Office, pending: Record<string, string>): Promise<void> {
  assertPage(await operator.connect(pending.authorize_url!));
  await admin.expect(200, "POST", new URL(pending.complete_url!).pathname);
}

/** Two people with keys of their own, as their clients. */
async function twoClients(stage: Stage, { gateway, admin }: Office, upstreamId: string): Promise<Client[]> {
  const clients: Client[] = [];
  for (const name of ["Alice", "Bob"]) {
    const { value } = await admin.createKey(name, [upstreamId]);
    clients.push(stage.keep(await openWithBearer(gateway.baseUrl, value)));
  }
  return clients;
}

async function everybodyIs(account: string, clients: Client[]): Promise<void> {
  for (const client of clients) expect(textOf(await client.callTool(whoami))).toBe(account);
}

journeys("a shared account", (stage) => {
  test("is connected once by an administrator, serves every key, is refreshed once and mended by its administrator", async () => {
    const o = await office(stage, { accessTokenTtl: HOUR_MS / 1000 });
    const { provider, upstream, admin } = o;
    provider.accountForNextLogin = "team@example";
    const pending = await o.create();
    expect(pending).toMatchObject({
      status: "pending_oauth",
      authorize_url: expect.stringContaining("/workspace/"),
    });
    const id = pending.mcp_client_id as string;
    const clients = await twoClients(stage, o, id);
    expect((await clients[0]!.listTools()).tools).toEqual([]);
    expect((await o.entry()).state).toBe("pending_verification");
    const early = await admin.send("POST", new URL(pending.complete_url).pathname);
    expect(early).toMatchObject({ status: 409, body: { error: { code: "oauth_pending" } } });

    // The link is the administrator's: in another browser it leads nowhere.
    const { status: elsewhere } = await stage.person("sk-bf-nobody").browser.get(pending.authorize_url);
    expect(elsewhere).toBe(401);

    await connect(o, pending);
    expect(await o.entry()).toMatchObject({ state: "healthy" });
    const status = await admin.expect(200, "GET", new URL(pending.status_url).pathname);
    expect(status).toMatchObject({ status: "authorized", issuer: provider.issuer });
    await everybodyIs("team@example", clients);
    expect(await admin.sessions()).toEqual([]);

    stage.advance(HOUR_MS - 30_000);
    provider.forgetRequests();
    const held = provider.holdNextToken();
    const calls = Array.from({ length: 10 }, (_, index) => clients[index % 2]!.callTool(whoami));
    await held.arrived;
    held.release();
    for (const result of await Promise.all(calls)) expect(textOf(result)).toBe("team@example");
    expect(provider.tokenCalls()).toBe(1);

    stage.advance(5 * 60_000);
    provider.withdrawGrants();
    for (const client of clients) isRefused(await client.callTool(whoami));
    expect(await o.entry()).toMatchObject({
      state: "needs_reauth",
      last_failure: { code: "shared_credential_lost", message: expect.stringContaining("…/reauthorize") },
    });
    const before = upstream.calls("tools/call").length;
    isRefused(await clients[0]!.callTool(whoami));
    expect(upstream.calls("tools/call")).toHaveLength(before);

    const again = await o.post(id, "reauthorize");
    isRefused(await clients[0]!.callTool(whoami));
    await connect(o, again);
    await everybodyIs("team@example", clients);
    expect((await o.entry()).state).toBe("healthy");
  });

  test("stays usable until its administrator has connected again; disconnected, nobody uses it", async () => {
    const o = await office(stage);
    const pending = await o.create();
    await connect(o, pending);
    const clients = await twoClients(stage, o, pending.mcp_client_id);
    await everybodyIs("alice", clients);
    const first = await o.post(pending.mcp_client_id, "reauthorize");
    const second = await o.post(pending.mcp_client_id, "reauthorize");
    expect(second.session_id).not.toBe(first.session_id);
    await everybodyIs("alice", clients);
    expect((await o.operator.browser.get(first.authorize_url)).status).toBe(410);
    await connect(o, second);
    await everybodyIs("alice", clients);

    await o.admin.expect(204, "DELETE", `/api/oauth/config/${pending.oauth_config_id}`);
    for (const client of clients) isRefused(await client.callTool(whoami));
    await o.gateway.runJobs();
    await eventually("the provider is told", () => o.provider.revocations.length > 0);
    expect((await o.entry()).state).toBe("needs_reauth");
  });

  test("is asked for again when the gateway registers anew; a client registered by hand is not", async () => {
    const o = await office(stage);
    const pending = await o.create();
    await connect(o, pending);
    const clients = await twoClients(stage, o, pending.mcp_client_id);
    await everybodyIs("alice", clients);
    const config = `/api/oauth/config/${pending.oauth_config_id}`;
    const before = await o.admin.expect(200, "GET", config);
    // Reconnecting looks for everything anew and keeps the registration that the tokens belong to.
    await o.post(pending.mcp_client_id, "reconnect");
    expect((await o.admin.expect(200, "GET", config)).client_id).toBe(before.client_id);

    const again = await o.post(pending.mcp_client_id, "reregister");
    expect((await o.admin.expect(200, "GET", config)).client_id).not.toBe(before.client_id);
    isRefused(await clients[0]!.callTool(whoami));
    await connect(o, again);
    await everybodyIs("alice", clients);
  });
});

// A stage of its own: on a clock that was moved on, an ID token has expired and names no account.
journeys("another shared account", (stage) => {
  test("of another name takes the place of the one before only when the administrator says so", async () => {
    const o = await office(stage);
    const { provider, operator } = o;
    const pending = await o.create({ scopes: ["openid", "mcp"] });
    await connect(o, pending);
    const people = await twoClients(stage, o, pending.mcp_client_id);
    await everybodyIs("alice", people);
    provider.accountForNextLogin = "mallory";
    for (const [choice, account] of [
      ["keep", "alice"],
      ["replace", "mallory"],
    ] as const) {
      const again = await o.post(pending.mcp_client_id, "reauthorize");
      assertPage(await operator.connect(again.authorize_url), "/workspace/mcp-sessions/account");
      await everybodyIs("alice", people);
      assertPage(await operator.browser.submitForm("/workspace/mcp-sessions/account", { choice }));
      await everybodyIs(account, people);
    }
  });
});

/** A registered client that proves itself with a key, and that key. */
function keyed(client: Record<string, unknown>) {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwk = { ...publicKey.export({ format: "jwk" }), kid: "one", alg: "RS256", use: "sig" };
  return {
    client: { ...client, token_endpoint_auth_method: "private_key_jwt", jwks: { keys: [jwk] } },
    pem: privateKey.export({ format: "pem", type: "pkcs8" }) as string,
  };
}

const robot = {
  client_id: "robot",
  client_secret: "the secret of the robot",
  grant_types: ["client_credentials"],
  response_types: [],
  redirect_uris: [],
};

journeys("client credentials", (stage) => {
  test("with a secret: a token is obtained, renewed once, refused, and mended without anybody's consent", async () => {
    const clients = [{ ...robot, token_endpoint_auth_method: "client_secret_basic" }];
    const o = await office(stage, { clients, accessTokenTtl: HOUR_MS / 1000 });
    const { provider, admin } = o;
    const config = {
      grant_type: "client_credentials",
      client_id: "robot",
      client_secret: robot.client_secret,
    };
    const { status, mcp_client_id: id } = await o.create(config);
    expect(status).toBe("success");
    await eventually("the tools are known", async () => (await o.entry()).state === "healthy");
    expect(JSON.stringify(await o.entry())).not.toContain(robot.client_secret);
    const people = await twoClients(stage, o, id);
    await everybodyIs("robot", people);
    expect(provider.tokenRequests).toHaveLength(1);
    expect(provider.tokenRequests[0]).toMatchObject({
      grantType: "client_credentials",
      params: { resource: o.upstream.url, scope: "mcp" },
    });

    stage.advance(HOUR_MS - 30_000);
    provider.forgetRequests();
    await Promise.all(Array.from({ length: 10 }, (_, index) => people[index % 2]!.callTool(whoami)));
    expect(provider.tokenCalls()).toBe(1);

    // Down, while the old token is dead: again later, and nobody is asked for anything.
    stage.advance(HOUR_MS);
    provider.failNextToken({ status: 503, body: {} }, 5);
    await expect(people[0]!.callTool(whoami)).rejects.toThrow(/sign-in service does not answer/);
    expect((await o.entry()).state).not.toBe("needs_reauth");
    provider.faults.clear();
    stage.advance(60_000);
    await everybodyIs("robot", people);

    stage.advance(HOUR_MS);
    provider.failNextToken({ status: 401, body: { error: "invalid_client" } });
    isRefused(await people[0]!.callTool(whoami));
    // What is listed comes from memory, which follows the database.
    await eventually("it is listed so", async () => (await o.entry()).state === "needs_reauth");
    expect((await o.entry()).last_failure.message).toContain("client_secret");
    isRefused(await people[1]!.callTool(whoami));
    await o.post(id, "reauthorize");
    await everybodyIs("robot", people);

    // A secret that is wrong and then right, without a word about reauthorizing.
    const put = (secret: string) =>
      admin.expect(200, "PUT", `/api/mcp/client/${id}`, { oauth_config: { client_secret: secret } });
    await put("wrong");
    await eventually("it is refused", async () => (await o.entry()).state === "needs_reauth");
    await put(robot.client_secret);
    await eventually("it works again", async () => (await o.entry()).state === "healthy");
    await everybodyIs("robot", people);
  });

  test("with private_key_jwt: the key signs, is never shown, and a kept one is not aimed elsewhere", async () => {
    const { client_secret: _none, ...rest } = robot;
    const { client, pem } = keyed(rest);
    const o = await office(stage, { clients: [client] });
    const { mcp_client_id: id } = await o.create({
      grant_type: "client_credentials",
      client_id: "robot",
      token_endpoint_auth_method: "private_key_jwt",
      private_key: pem,
      private_key_id: "one",
    });
    await eventually("the tools are known", async () => (await o.entry()).state === "healthy");
    const people = await twoClients(stage, o, id);
    await everybodyIs("robot", people);
    const assertion = String(o.provider.tokenRequests[0]!.params.client_assertion);
    const part = (index: number) =>
      JSON.parse(Buffer.from(assertion.split(".")[index]!, "base64url").toString("utf8"));
    expect(part(0)).toMatchObject({ alg: "RS256", kid: "one" });
    expect(part(1)).toMatchObject({ iss: "robot", sub: "robot", aud: o.provider.issuer });
    expect(part(1).jti.length).toBeGreaterThan(16);
    expect(part(1).exp - part(1).iat).toBeLessThanOrEqual(60);

    const { config } = await o.entry();
    expect(config.oauth_config.private_key).toBe("********");
    await o.admin.expect(200, "PUT", `/api/mcp/client/${id}`, config);
    await everybodyIs("robot", people);
    expect(o.provider.tokenRequests).toHaveLength(1);
    const aimed = await o.admin.send("PUT", `/api/mcp/client/${id}`, {
      oauth_config: { ...config.oauth_config, token_url: "https://evil.example/token" },
    });
    expect(aimed).toMatchObject({
      status: 400,
      body: { error: { code: "secret_required", param: "oauth_config.private_key" } },
    });
    expect((await o.admin.send("POST", `/api/mcp/client/${id}/reregister`)).body.error.code).toBe(
      "client_given",
    );
  });
});

journeys("a client that was registered by hand", (stage) => {
  test("may prove itself with a key for a person's account too: code, refresh and revocation", async () => {
    const redirect = "http://127.0.0.1/api/oauth/callback";
    const { client, pem } = keyed({
      client_id: "postern",
      application_type: "native",
      redirect_uris: [redirect],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
    });
    const o = await office(stage, { clients: [client], accessTokenTtl: HOUR_MS / 1000 });
    const oauth_config = {
      client_id: "postern",
      private_key: pem,
      private_key_id: "one",
      redirect: "shared",
    };
    const pending = await o.create(oauth_config);
    await connect(o, pending);
    const people = await twoClients(stage, o, pending.mcp_client_id);
    await everybodyIs("alice", people);
    stage.advance(HOUR_MS - 30_000);
    await everybodyIs("alice", people);
    await o.admin.expect(204, "DELETE", `/api/oauth/config/${pending.oauth_config_id}`);
    await o.gateway.runJobs();
    await eventually("the provider is told", () => o.provider.revocations.length > 0);
    const grants = o.provider.tokenRequests.map(({ grantType, status }) => [grantType, status]);
    expect(grants).toEqual([
      ["authorization_code", 200],
      ["refresh_token", 200],
    ]);
    const sent = [...o.provider.tokenRequests.map(({ params }) => params), ...o.provider.revocations];
    const assertions = sent.map((params) => params.client_assertion);
    expect(new Set(assertions).size).toBe(sent.length);
    expect(assertions).not.toContain(undefined);
  });
});

journeys("the credential that lists tools", (stage) => {
  test("is found by values that the live upstream accepted, and no call ever uses it", async () => {
    const accounts = { "value-of-admin": "admin", "value-of-alice": "alice" };
    const protection = { kind: "header" as const, name: "x-api-key", accounts };
    const server = stage.keep(await startModernUpstream({ protection }));
    const gateway = await stage.gateway([new URL(server.url).host]);
    const admin = new Management(gateway.baseUrl, gateway.adminToken);
    const { mcp_client_id: id } = await admin.createUpstream({
      name: "team",
      connection_string: server.url,
      auth_type: "per_user_headers",
      per_user_header_keys: ["X-Api-Key"],
      headers: { "X-Tenant": "acme" },
    });
    const verify = (value: string) =>
      admin.send("POST", `/api/mcp/client/${id}/verify-headers`, { headers: { "x-api-key": value } });
    const asked = await admin.expect(200, "POST", `/api/mcp/client/${id}/initiate-verification`);
    expect(asked).toMatchObject({
      status: "pending_verification",
      required_header_keys: ["X-Api-Key"],
      admin_header_keys: ["x-tenant"],
      session_id: expect.any(String),
    });
    expect(await verify("wrong")).toMatchObject({
      status: 422,
      body: { error: { code: "headers_refused" } },
    });
    expect(await admin.tools(id)).toEqual([]);
    expect(await verify("value-of-admin")).toMatchObject({ status: 200, body: { status: "success" } });
    expect(await admin.tools(id)).toContain("whoami");

    const key = await admin.createKey("Alice", [id]);
    const client = stage.keep(await openWithBearer(gateway.baseUrl, key.value));
    server.forgetRequests();
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain("team-whoami");
    const result = await client.callTool(whoami);
    expect(textOf(result)).toMatch(/^Authentication required for team\. /);
    expect(server.calls()).toEqual([]);
  });

  test("of OAuth is the administrator's and no call ever uses it", async () => {
    const { gateway, admin, guarded, upstreamId } = await stage.household();
    const started = await admin.expect(200, "POST", `/api/mcp/client/${upstreamId}/initiate-verification`);
    expect(started).toMatchObject({ status: "pending_oauth", session_id: expect.any(String) });
    const second = await admin.createKey("Bob", [upstreamId]);
    const client = stage.keep(await openWithBearer(gateway.baseUrl, second.value));
    guarded.upstream.forgetRequests();
    const result = await client.callTool({ name: "protected-whoami" });
    expect(textOf(result)).toMatch(/^Authentication required for protected\. /);
    expect(guarded.upstream.calls()).toEqual([]);
  });
});
