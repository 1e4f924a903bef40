import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { answer, type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { BASE, type Bench, echo, type Json, json, META, openBench } from "./endpoint.suite.ts";

let peer: ScriptedUpstream;
let bench: Bench;

beforeEach(async () => {
  peer = await startScriptedUpstream({ tools: [echo, { name: "danger", inputSchema: { type: "object" } }] });
  bench = await openBench(peer);
});

afterEach(async () => {
  await bench.close();
  await peer.close();
});

const TEXT = (value: string) => [{ type: "text", text: value }];

describe("who calls", () => {
  const challenge = `Bearer resource_metadata="${BASE}/.well-known/oauth-protected-resource/mcp"`;

  test.each(["POST", "GET", "DELETE"])(
    "MC-03 %s without a credential is 401 with the challenge",
    async (method) => {
      const body = method === "POST" ? { jsonrpc: "2.0", id: 1, method: "tools/list" } : undefined;
      const response = await bench.fetch(body, {}, { method });
      expect(response.status).toBe(401);
      expect(response.headers.get("www-authenticate")).toBe(challenge);
      expect(await response.json()).toMatchObject({
        status_code: 401,
        error: { code: "authentication_required" },
      });
    },
  );

  test.each([
    ["an unknown token", { authorization: "Bearer pst_nope" }],
    ["an unknown key", { authorization: "Bearer sk-bf-nope" }],
    ["another scheme", { authorization: "Basic eDp5" }],
    ["an unknown key elsewhere", { "x-api-key": "sk-bf-nope" }],
    ["a JWT", { authorization: "Bearer aa.bb.cc" }],
    ["two in one header", { authorization: "Bearer pst_a, Bearer pst_b" }],
    ["an anonymous session, which is switched off", { "x-bf-mcp-session-id": "x".repeat(32) }],
  ])("MC-03 ID-12 TK-18 %s is 401 invalid_token", async (_name, headers) => {
    const response = await bench.fetch({ jsonrpc: "2.0", id: 1, method: "tools/list" }, headers as never);
    expect(response.status).toBe(401);
    expect(response.headers.get("www-authenticate")).toBe(`${challenge}, error="invalid_token"`);
  });

  test("TK-18 query and cookie never authenticate", async () => {
    const { value } = await bench.key("k", []);
    const path = `/mcp?access_token=${value}&x-bf-vk=${value}`;
    const message = { jsonrpc: "2.0", id: 1, method: "tools/list" };
    expect((await bench.fetch(message, { cookie: `access_token=${value}` }, { path })).status).toBe(401);
  });

  test("ID-09 two different credentials are 400, the same twice counts once", async () => {
    const { value } = await bench.key("k", []);
    const message = { jsonrpc: "2.0", id: 1, method: "ping" };
    const both = await bench.fetch(message, { authorization: "Bearer pst_x", "x-bf-vk": value });
    expect(both.status).toBe(400);
    expect(await both.json()).toMatchObject({ error: { code: "conflicting_credentials" } });
    expect(
      (await bench.fetch(message, { "x-bf-vk": value, "x-bf-mcp-session-id": "x".repeat(32) })).status,
    ).toBe(400);
    expect((await bench.fetch(message, { authorization: `bearer ${value}`, "x-bf-vk": value })).status).toBe(
      200,
    );
  });

  test("ID-20 a store that does not answer is 503, never a weaker identity", async () => {
    const { value } = await bench.key("k", []);
    await bench.database.close();
    const response = await bench.fetch({ jsonrpc: "2.0", id: 1, method: "ping" }, { "x-api-key": value });
    expect(response.status).toBe(503);
  });

  test("with a key GET and DELETE are 405", async () => {
    const { value } = await bench.key("k", []);
    const response = await bench.fetch(undefined, { "x-bf-vk": value }, { method: "GET" });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "POST"]);
  });

  test("an unknown slug is 401 with its own metadata without a token, 404 with one", async () => {
    const { value } = await bench.key("k", []);
    const message = { jsonrpc: "2.0", id: 1, method: "ping" };
    const without = await bench.fetch(message, {}, { path: "/mcp/crm" });
    expect(without.headers.get("www-authenticate")).toBe(
      challenge.replace("/mcp", "/mcp/crm").replace(/\/mcp"$/, '/mcp/crm"'),
    );
    expect((await bench.fetch(message, { "x-bf-vk": value }, { path: "/mcp/crm" })).status).toBe(404);
  });

  test("an anonymous session reaches only what is open to all, when it is switched on", async () => {
    bench.settings.enforceAuthOnInference = false;
    await bench.upstream(peer, { name: "open", allow_on_all_virtual_keys: true });
    await bench.upstream(peer, { name: "closed" });
    const response = await bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "tools/list" },
      { "x-bf-mcp-session-id": "x".repeat(32) },
    );
    const { result } = await json(response);
    expect(result.tools.map((tool: Json) => tool.name)).toEqual(["open-danger", "open-echo"]);
  });
});

describe("origins", () => {
  test.each(["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://localhost:9999"])(
    "MC-01 %s is 403 before anything else",
    async (origin) => {
      const response = await bench.fetch("{", { origin });
      expect(response.status).toBe(403);
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
    },
  );

  test("MC-01 our own and allowed origins pass, only allowed ones get CORS headers", async () => {
    const own = await bench.fetch({}, { origin: "http://127.0.0.1:8080" });
    expect([own.status, own.headers.get("access-control-allow-origin")]).toEqual([401, null]);
    const allowed = await bench.fetch({}, { origin: "https://app.example" });
    expect([allowed.status, allowed.headers.get("access-control-allow-origin")]).toEqual([
      401,
      "https://app.example",
    ]);
    expect(allowed.headers.get("access-control-allow-credentials")).toBeNull();
    expect(allowed.headers.get("vary")).toBe("Authorization, Origin");
    const preflight = await bench.fetch(undefined, { origin: "https://app.example" }, { method: "OPTIONS" });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-headers")).toContain("mcp-protocol-version");
  });
});

describe("bodies", () => {
  const message = { jsonrpc: "2.0", id: 1, method: "ping" };
  let presenter: string | undefined;
  beforeEach(() => {
    presenter = undefined;
  });
  const send = async (body: unknown, headers: Record<string, string> = {}) => {
    presenter ??= (await bench.key("k", [])).value;
    const response = await bench.fetch(body, { "x-bf-vk": presenter, ...headers });
    return { status: response.status, body: await json(response) };
  };

  test.each(["text/plain", "application/json\ta", "application/json;charset=utf-16", "application/jsonx"])(
    "MC-04 %s is 415",
    async (type) => expect(await send(message, { "content-type": type })).toMatchObject({ status: 415 }),
  );

  test("MC-04 APPLICATION/JSON; charset=UTF-8 is fine, compression is 415, an Accept of nothing ours is 406", async () => {
    expect(await send(message, { "content-type": "APPLICATION/JSON; charset=UTF-8" })).toMatchObject({
      status: 200,
    });
    expect(await send(message, { "content-encoding": "gzip" })).toMatchObject({ status: 415 });
    expect(await send(message, { accept: "text/html" })).toMatchObject({ status: 406 });
  });

  test.each<[string, string, number]>([
    ["MC-07 depth", "[".repeat(100_000), -32700],
    ["MC-08 duplicate keys", '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', -32700],
    ["MC-09 __proto__", '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"__proto__":{}}}', -32700],
    ["MC-05 an empty batch", "[]", -32600],
    ["a response", '{"jsonrpc":"2.0","id":1,"result":{}}', -32600],
    ["an id of null", '{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600],
    ["params that are a list", '{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32600],
    ["nothing", "", -32700],
  ])("%s is 400", async (_name, body, code) => {
    expect(await send(body)).toMatchObject({ status: 400, body: { jsonrpc: "2.0", error: { code } } });
  });

  test("MC-07 more than 4 MiB is 413", async () => {
    expect(await send(JSON.stringify({ ...message, params: { a: "x".repeat(5_000_000) } }))).toMatchObject({
      status: 413,
    });
  });

  test("notifications are 202 in both eras", async () => {
    expect(await send({ jsonrpc: "2.0", method: "notifications/initialized" })).toEqual({
      status: 202,
      body: {},
    });
  });
});

describe("2026-07-28", () => {
  let key: string;
  beforeEach(async () => {
    const upstream = await bench.upstream(peer);
    key = (await bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }])).value;
  });

  test("server/discover and tools/list are ours, private and complete", async () => {
    const discovered = await bench.modern(key, "server/discover");
    const self = { name: "postern", title: "Postern", version: "1.2.3" };
    expect(discovered.body.result).toMatchObject({
      resultType: "complete",
      supportedVersions: ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"],
      capabilities: { tools: {} },
      cacheScope: "private",
      _meta: { [`${META}serverInfo`]: self },
    });
    const { body, headers } = await bench.modern(key, "tools/list");
    expect(body.result).toMatchObject({ resultType: "complete", cacheScope: "private", ttlMs: 10_000 });
    expect(body.result.tools[1]).toEqual({ ...echo, name: "acme-echo" });
    expect(headers.get("cache-control")).toBe("no-store");
    expect(headers.get("mcp-session-id")).toBeNull();
  });

  test("a call reaches the upstream under its own name and comes back under the client's id", async () => {
    const { body, status } = await bench.modern(key, "tools/call", {
      name: "acme-echo",
      arguments: { a: 1 },
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({ id: 7, result: { resultType: "complete", content: TEXT('{"a":1}') } });
    expect(body.result._meta[`${META}serverInfo`].name).toBe("postern");
    expect(peer.calls("tools/call")[0]!.headers["mcp-name"]).toBe("echo");
    expect(bench.calls).toMatchObject([{ upstream: "acme", tool: "echo", outcome: "result" }]);
  });

  test.each<[string, Record<string, string>, number]>([
    ["Mcp-Name says another tool", { "mcp-name": "acme-danger" }, -32020],
    ["Mcp-Name is no valid base64", { "mcp-name": "=?base64?x?=" }, -32020],
    ["Mcp-Name is missing", { "mcp-name": "" }, -32020],
    ["Mcp-Method says another method", { "mcp-method": "tools/list" }, -32020],
    ["the version header is older", { "mcp-protocol-version": "2025-11-25" }, -32020],
  ])("MC-11 %s: 400", async (_name, headers, code) => {
    const call = await bench.modern(key, "tools/call", { name: "acme-echo" }, headers);
    expect(call).toMatchObject({ status: 400, body: { id: 7, error: { code } } });
    expect(peer.calls("tools/call")).toHaveLength(0);
  });

  test("MC-11 the name in base64 is the same name; contradicting modern headers on an older request are refused", async () => {
    const encoded = `=?base64?${Buffer.from("acme-echo").toString("base64")}?=`;
    expect(
      (await bench.modern(key, "tools/call", { name: "acme-echo" }, { "mcp-name": encoded })).status,
    ).toBe(200);
    expect(await bench.legacy(key, "tools/list", {}, { "mcp-method": "ping" })).toMatchObject({
      status: 400,
    });
  });

  test("MC-12 unknown revisions and methods", async () => {
    const meta = { [`${META}protocolVersion`]: "2099-01-01" };
    const future = await bench.modern(
      key,
      "tools/list",
      { _meta: meta },
      { "mcp-protocol-version": "2099-01-01" },
    );
    expect(future).toMatchObject({
      status: 400,
      body: {
        error: {
          code: -32022,
          data: { requested: "2099-01-01", supported: expect.arrayContaining(["2026-07-28"]) },
        },
      },
    });
    for (const method of ["ping", "initialize", "logging/setLevel", "resources/list", "nonsense"]) {
      expect(await bench.modern(key, method)).toMatchObject({
        status: 404,
        body: { error: { code: -32601 } },
      });
    }
    expect(
      (await bench.legacy(key, "tools/list", {}, { "mcp-protocol-version": "2026-07-28" })).body.error.code,
    ).toBe(-32602);
    expect(
      (await bench.legacy(key, "tools/list", {}, { "mcp-protocol-version": "1999" })).body.error.code,
    ).toBe(-32022);
  });

  test("MC-12 session and event ids are ignored", async () => {
    const ids = { "mcp-session-id": "x", "last-event-id": "1" };
    expect((await bench.modern(key, "tools/list", {}, ids)).status).toBe(200);
  });

  test("MC-11 MC-24 arguments that are mirrored into headers must agree, and reach the upstream", async () => {
    const region = { type: "string", "x-mcp-header": "Region" };
    const tool = { name: "sql", inputSchema: { type: "object", properties: { region } } };
    const bad = { name: "bad", inputSchema: { type: "object", items: region } };
    peer.tools = [tool, bad];
    const { id } = bench.upstreams.all()[0]!;
    await bench.upstreams.update(id, { tool_pins: "accept" });
    await bench.upstreams.recordTools(id, [tool, bad]);
    const params = { name: "acme-sql", arguments: { region: "größe" } };
    const value = `=?base64?${Buffer.from("größe").toString("base64")}?=`;
    expect((await bench.modern(key, "tools/call", params)).body.error.code).toBe(-32020);
    expect((await bench.modern(key, "tools/call", params, { "mcp-param-region": "eu" })).status).toBe(400);
    expect((await bench.modern(key, "tools/call", params, { "mcp-param-region": value })).status).toBe(200);
    expect((await bench.legacy(key, "tools/call", params)).status).toBe(200);
    expect(peer.calls("tools/call").map((call) => call.headers["mcp-param-region"])).toEqual([value, value]);
    const listed = await bench.modern(key, "tools/list");
    expect(listed.body.result.tools.map((one: Json) => one.name)).toEqual(["acme-sql"]);
  });
});

describe("older revisions", () => {
  let key: string;
  beforeEach(async () => {
    const upstream = await bench.upstream(peer);
    key = (await bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }])).value;
  });

  test.each([
    ["2025-11-25", "2025-11-25"],
    ["2025-06-18", "2025-06-18"],
    ["2026-07-28", "2025-11-25"],
    ["1999-01-01", "2025-11-25"],
  ])("initialize for %s negotiates %s", async (protocolVersion, negotiated) => {
    const { body, headers } = await bench.legacy(key, "initialize", { protocolVersion, capabilities: {} });
    expect(body.result).toMatchObject({ protocolVersion: negotiated, capabilities: { tools: {} } });
    expect(headers.get("mcp-session-id")).toMatch(/^[\x21-\x7e]{40,1024}$/);
  });

  test("list and call work with a session and without; results carry nothing of the modern revision", async () => {
    const session = await bench.session(key, {});
    for (const headers of [session, {}]) {
      const { body } = await bench.legacy(
        key,
        "tools/call",
        { name: "acme-echo", arguments: {} },
        headers as never,
      );
      expect(body.result).toEqual({ content: TEXT("{}"), _meta: {} });
    }
    expect((await bench.legacy(key, "tools/list", {}, session)).body.result.ttlMs).toBeUndefined();
    expect((await bench.legacy(key, "server/discover", {}, session)).body.error.code).toBe(-32601);
  });

  test("MC-14 a session id serves only the caller it was made for, and is never adopted", async () => {
    const session = await bench.session(key, {});
    const other = await bench.key("other", []);
    expect(await bench.legacy(other.value, "tools/list", {}, session)).toMatchObject({ status: 404 });
    expect((await bench.legacy(key, "ping", {}, { "mcp-session-id": "made-up" })).status).toBe(404);
    const fresh = await bench.legacy(
      key,
      "initialize",
      { protocolVersion: "2025-11-25" },
      { "mcp-session-id": "mine" },
    );
    expect(fresh.headers.get("mcp-session-id")).not.toBe("mine");
    bench.world.advance(8 * 24 * 3_600_000);
    expect((await bench.legacy(key, "ping", {}, session)).status).toBe(404);
  });

  test("MC-16 a cancellation ends the caller's own call, nobody else's", async () => {
    const session = await bench.session(key, {});
    const upstreamId = bench.upstreams.all()[0]!.id;
    const other = await bench.key("other", [{ upstreamId, tools: ["*"] }]);
    const theirs = await bench.session(other.value, {});
    peer.next(answer.silence(), "tools/call");
    const arrived = peer.arrival("tools/call");
    const call = bench.legacy(key, "tools/call", { name: "acme-echo" }, session);
    await arrived;
    const cancel = (value: string, headers: Record<string, string>) =>
      bench.fetch(
        { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 7 } },
        { "x-bf-vk": value, ...headers },
      );
    await cancel(other.value, theirs);
    const second = await bench.legacy(key, "ping", {}, session);
    expect(second.status).toBe(200);
    expect((await cancel(key, session)).status).toBe(202);
    expect((await call).body.error).toMatchObject({ code: -32603, data: { code: "cancelled" } });
  });
});
