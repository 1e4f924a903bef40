import { afterEach, expect, it } from "vitest";
import { startLoopbackServer } from "../../test/peers/loopback-server.ts";
import { watchedLog } from "../../test/support/leavings.ts";
import { readJson } from "../../test/support/read.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { Audit } from "../audit/index.ts";
import { openOutbound, Problem, Seal } from "../base/index.ts";
import { openDatabase } from "../db/index.ts";
import { mount, RateLimits } from "../http/index.ts";
import type { Principal } from "../identity/index.ts";
import { type ToolDefinition, ToolLists, UpstreamOAuth, Upstreams, upstreamRoutes } from "./index.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function application(allow: string[] = []) {
  const outbound = openOutbound({ allow: { admin: allow, stranger: [] } });
  const world = testWorld(outbound);
  const settings = testSettings();
  const database = await openDatabase("sqlite::memory:", watchedLog());
  closing.push(
    () => outbound.close(),
    () => database.close(),
  );
  const parts = { world, settings, database, seal: new Seal([world.random(32)], world.random) };
  const upstreams = new Upstreams(parts);
  const state = {
    caller: { kind: "admin_token" } as Principal,
    visible: new Set<string>(),
    status: undefined as string | undefined,
    tried: [] as string[][],
    kept: [] as string[][],
    dropped: [] as string[],
    demanded: [] as string[][],
    refusal: undefined as Problem | undefined,
    probe: async (): Promise<ToolDefinition[]> => [{ name: "echo" }],
  };
  const credentialStatus = async () => state.status;
  const tools = new ToolLists({
    world,
    upstreams,
    probe: () => state.probe(),
    hasCredential: async () => state.status === "active",
  });
  closing.push(() => tools.settled());
  const routes = upstreamRoutes({
    settings,
    database,
    upstreams,
    oauth: new UpstreamOAuth(parts),
    tools,
    audit: new Audit(parts),
    keyConfigs: { read: async () => new Map(), replace: async () => {} },
    visible: async () => state.visible,
    startDiscoveryFlow: async (upstream) => ({
      flowId: "flow_1",
      url: `http://localhost:8080/workspace/mcp-sessions/auth?flow=flow_1&of=${upstream.name}`,
      expiresAt: world.now().getTime() + 900_000,
    }),
    verifyHeaders: async (_upstream, headers) => {
      state.tried.push(Object.keys(headers));
      if (state.refusal) throw state.refusal;
      return [{ name: "echo" }];
    },
    keepSample: async (_tx, upstream, headers) => {
      state.kept.push([upstream.id, ...Object.keys(headers)]);
    },
    credentialStatus,
    dropCredential: async (_tx, upstream) => {
      state.dropped.push(upstream.id);
    },
    demandReauth: async (_tx, upstreamId, reason) => {
      state.demanded.push([upstreamId, reason]);
    },
  });
  const app = mount(routes, {
    world,
    settings,
    limits: new RateLimits(world),
    authenticate: async () => state.caller,
  });
  const call = async (method: string, path: string, body?: unknown) => {
    const response = await app.request(`http://localhost:8080${path}`, {
      method,
      headers: { host: "localhost:8080", "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    return { status: response.status, body: await readJson(response) };
  };
  return { ...parts, upstreams, tools, state, call };
}

const plain = { name: "plain", connection_string: "https://plain.example/mcp", tools_to_execute: ["*"] };

it("creates, lists with secrets redacted, takes back what it showed, changes and deletes", async () => {
  const { call, tools, upstreams, database } = await application();
  const created = await call("POST", "/api/mcp/client", {
    ...plain,
    auth_type: "headers",
    headers: { "X-Key": "MARK" },
  });
  expect(created).toMatchObject({
    status: 200,
    body: { status: "success", mcp_client_id: expect.any(String) },
  });
  await tools.settled();
  const list = await call("GET", "/api/mcp/clients");
  expect(list.body).toMatchObject({ count: 1, total_count: 1, limit: 25, offset: 0 });
  const [row] = list.body.clients;
  expect(row).toMatchObject({ state: "healthy", tools: [{ name: "echo" }], vk_configs: [] });
  expect(JSON.stringify(list.body)).not.toContain("MARK");
  const before = upstreams.all();
  const path = `/api/mcp/client/${created.body.mcp_client_id}`;
  expect((await call("PUT", path, row.config)).status).toBe(200);
  expect(upstreams.all()).toEqual(before);
  expect((await call("PUT", path, { disabled: true })).status).toBe(200);
  expect((await call("GET", "/api/mcp/clients?state=disabled")).body.count).toBe(1);
  expect((await call("POST", `${path}/reconnect`)).body.error.code).toBe("mcp_client_disabled");
  expect((await call("DELETE", path)).status).toBe(200);
  expect((await call("DELETE", path)).body.error.code).toBe("mcp_client_not_found");
  const audit = await database.db
    .selectFrom("audit")
    .select(["event", "detail_json"])
    .orderBy("at")
    .execute();
  expect(audit.map((entry) => entry.event).sort()).toEqual([
    "upstream.created",
    "upstream.deleted",
    "upstream.updated",
    "upstream.updated",
  ]);
  expect(JSON.stringify(audit)).not.toContain("MARK");
});

it("filters and pages", async () => {
  const { call } = await application();
  for (const name of ["alpha", "beta", "alphabet"]) await call("POST", "/api/mcp/client", { ...plain, name });
  const search = await call("GET", "/api/mcp/clients?search=ALPHA&limit=1&offset=1");
  expect(search.body).toMatchObject({
    count: 1,
    total_count: 2,
    clients: [{ config: { name: "alphabet" } }],
  });
  expect((await call("GET", "/api/mcp/clients?auth_type=headers,per_user_oauth")).body.total_count).toBe(0);
  expect((await call("GET", "/api/mcp/clients?connection_type=http")).body.total_count).toBe(3);
  for (const query of ["limit=0", "limit=101", "offset=-1", "state=odd", "auth_type=x"])
    expect((await call("GET", `/api/mcp/clients?${query}`)).status, query).toBe(400);
});

it("who is no administrator sees the names of what they may use, and nothing else", async () => {
  const { call, state, upstreams } = await application();
  const one = await call("POST", "/api/mcp/client", { ...plain, headers: { "x-key": "MARK" } });
  await call("POST", "/api/mcp/client", { ...plain, name: "other" });
  state.caller = { kind: "virtual_key", virtualKeyId: "vk_1", name: "k" };
  state.visible.add(one.body.mcp_client_id);
  const { body } = await call("GET", "/api/mcp/clients");
  expect(body.total_count).toBe(1);
  expect(body.clients).toEqual([
    {
      config: { client_id: one.body.mcp_client_id, name: "plain" },
      tools: [],
      state: upstreams.findByName("plain")?.state,
      vk_configs: [],
    },
  ]);
});

it.each([
  [
    { ...plain, connection_type: "stdio", stdio_config: { command: "sh" } },
    "unsupported_connection_type",
    "connection_type",
  ],
  [{ ...plain, auth_type: "token_exchange" }, "token_url_required", "oauth_config.token_url"],
  [{ ...plain, name: "a-b" }, "invalid_request", "name"],
  [{ ...plain, surprise: 1 }, "invalid_request", "surprise"],
  [{ ...plain, headers: { Host: "x" } }, "reserved_header", "headers.Host"],
  [{ name: "x" }, "invalid_request", "connection_string"],
  [{ ...plain, tool_execution_timeout: -1 }, "invalid_request", "tool_execution_timeout"],
])("AD-07 refuses %j", async (body, code, param) => {
  const { call, upstreams } = await application();
  const answer = await call("POST", "/api/mcp/client", body);
  expect(answer).toMatchObject({ status: 400, body: { error: { code, param } } });
  expect(upstreams.all()).toEqual([]);
});

it("per_user_oauth: discovery first, then pending_oauth, then complete when the account is connected", async () => {
  const server = await startLoopbackServer((request, response) => {
    const origin = `http://${request.headers.host}`;
    const found = request.url?.startsWith("/.well-known/oauth-authorization-server");
    response.writeHead(found ? 200 : 404, { "content-type": "application/json" });
    const metadata = {
      issuer: origin,
      authorization_endpoint: `${origin}/authorize`,
      token_endpoint: `${origin}/token`,
      code_challenge_methods_supported: ["S256"],
    };
    response.end(JSON.stringify(found ? metadata : {}));
  });
  closing.push(() => server.close());
  const { call, state, upstreams } = await application([`127.0.0.1:${server.port}`]);
  const body = { name: "up", connection_string: `${server.origin}/mcp`, auth_type: "per_user_oauth" };
  const refused = await call("POST", "/api/mcp/client", body);
  expect(refused).toMatchObject({ status: 422, body: { error: { code: "client_registration_required" } } });
  expect(upstreams.all()).toEqual([]);
  const created = await call("POST", "/api/mcp/client", { ...body, oauth_config: { client_id: "c" } });
  expect(created).toMatchObject({
    status: 200,
    body: { status: "pending_oauth", oauth_config_id: expect.any(String) },
  });
  const { oauth_config_id: config, complete_url, status_url, mcp_client_id: id } = created.body;
  expect(created.body.authorize_url).toContain("/workspace/mcp-sessions/auth?flow=");
  const complete = new URL(complete_url).pathname;
  expect(await call("POST", complete)).toMatchObject({
    status: 409,
    body: { error: { code: "oauth_pending" } },
  });
  expect((await call("POST", `/api/mcp/client/${id}/refresh-tools`)).body.error.code).toBe("oauth_pending");
  expect((await call("GET", new URL(status_url).pathname)).body).toMatchObject({
    id: config,
    status: "pending",
    issuer: server.origin,
  });
  state.status = "active";
  expect(await call("POST", complete)).toMatchObject({ status: 200, body: { status: "success", tools: 1 } });
  expect((await call("GET", new URL(status_url).pathname)).body.status).toBe("authorized");
  expect(upstreams.get(id).state).toBe("healthy");
  const document = await call("GET", `/oauth/client/${id}.json`);
  expect(document.body).toMatchObject({ redirect_uris: [upstreams.get(id).redirectUri] });
  expect((await call("GET", "/oauth/client/none.json")).status).toBe(404);
  expect((await call("GET", "/api/oauth/config/none/status")).body.error.code).toBe("oauth_config_not_found");
});

it("UP-32 a tool list that fails says so in our words and keeps the last one", async () => {
  const { call, state, upstreams, tools, world } = await application();
  const { body } = await call("POST", "/api/mcp/client", { ...plain, tools_to_execute: ["*", "new"] });
  await tools.settled();
  const path = `/api/mcp/client/${body.mcp_client_id}/refresh-tools`;
  state.probe = () => Promise.reject(new Error("<script>internal</script>"));
  const failed = await call("POST", path);
  expect(failed).toMatchObject({ status: 502, body: { error: { code: "tool_list_failed" } } });
  expect(JSON.stringify(failed.body)).not.toContain("internal");
  expect(upstreams.get(body.mcp_client_id)).toMatchObject({ state: "unstable", tools: [{ name: "echo" }] });
  state.probe = () =>
    Promise.reject(new Problem("upstream", "upstream_timeout", "It did not answer in time."));
  expect((await call("POST", path)).body.error.code).toBe("upstream_timeout");
  state.probe = async () => [{ name: "new" }];
  await tools.refreshDue();
  expect(upstreams.get(body.mcp_client_id).tools).toEqual([{ name: "echo" }]);
  world.advance(600_000);
  await tools.refreshDue();
  expect(upstreams.get(body.mcp_client_id)).toMatchObject({ state: "healthy", tools: [{ name: "new" }] });
});

it("reads one list at a time per upstream", async () => {
  const { call, state, tools } = await application();
  const { body } = await call("POST", "/api/mcp/client", plain);
  await tools.settled();
  let probes = 0;
  const gate = Promise.withResolvers<ToolDefinition[]>();
  state.probe = () => {
    probes += 1;
    return gate.promise;
  };
  const all = Promise.all([tools.refresh(body.mcp_client_id), tools.refresh(body.mcp_client_id)]);
  gate.resolve([]);
  await all;
  expect(probes).toBe(1);
});

const personal = {
  ...plain,
  name: "personal",
  auth_type: "per_user_headers",
  per_user_header_keys: ["X-Api-Key"],
};

it("UP-28 sample header values are tried before anything is stored, and kept to list the tools", async () => {
  const { call, state, upstreams } = await application();
  const user_headers = { "x-api-key": "MARK", "X-Other": "dropped" };
  state.refusal = new Problem("unprocessable", "headers_refused", "The server does not accept these values.");
  const refused = await call("POST", "/api/mcp/client", { ...personal, user_headers });
  expect(refused).toMatchObject({ status: 422, body: { error: { code: "headers_refused" } } });
  const incomplete = await call("POST", "/api/mcp/client", { ...personal, user_headers: {} });
  expect(incomplete).toMatchObject({ status: 400, body: { error: { param: "user_headers.X-Api-Key" } } });
  expect(upstreams.all()).toEqual([]);
  state.refusal = undefined;
  const { status, body } = await call("POST", "/api/mcp/client", { ...personal, user_headers });
  expect({ status, body }).toMatchObject({ status: 200, body: { status: "success" } });
  expect(state.kept).toEqual([[body.mcp_client_id, "x-api-key"]]);
  const list = await call("GET", "/api/mcp/clients?auth_type=per_user_headers");
  expect(list.body.clients[0]).toMatchObject({
    state: "healthy",
    tools: [{ name: "echo" }],
    config: { per_user_header_keys: ["X-Api-Key"] },
  });
  expect(JSON.stringify([refused, incomplete, body, list])).not.toContain("MARK");
});

it("without sample values it waits for verification, and reconnect gives an administrator the form", async () => {
  const { call, upstreams } = await application();
  const { body } = await call("POST", "/api/mcp/client", personal);
  const path = `/api/mcp/client/${body.mcp_client_id}`;
  expect(upstreams.get(body.mcp_client_id)).toMatchObject({ state: "pending_verification", perUser: true });
  expect((await call("POST", `${path}/refresh-tools`)).body.error.code).toBe("headers_pending");
  expect((await call("POST", `${path}/reconnect`)).body).toMatchObject({
    status: "pending_verification",
    submit_url: expect.stringContaining("/workspace/mcp-sessions/auth"),
    required_header_keys: ["X-Api-Key"],
  });
  const sample = await call("PUT", path, { user_headers: { "X-Api-Key": "1" } });
  expect(sample).toMatchObject({ status: 400, body: { error: { code: "unsupported_field" } } });
  const { generation } = upstreams.get(body.mcp_client_id);
  await call("PUT", path, { per_user_header_keys: ["x-api-key"] });
  expect(upstreams.get(body.mcp_client_id).generation).toBe(generation);
  await call("PUT", path, { per_user_header_keys: ["x-api-key", "X-Region"] });
  expect(upstreams.get(body.mcp_client_id).generation).toBe(generation + 1);
});
