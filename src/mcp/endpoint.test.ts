import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { answer, type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { testSettings } from "../../test/support/settings.ts";
import { type TestWorld, testWorld } from "../../test/support/world.ts";
import { Access, VirtualKeys } from "../access/index.ts";
import { Audit } from "../audit/index.ts";
import {
  Hidden,
  type KeyedHash,
  type Outbound,
  type Owner,
  openLog,
  openOutbound,
  Seal,
} from "../base/index.ts";
import { Connect, type ConnectParts } from "../connect/index.ts";
import { type Database, Flows, Outbox, openDatabase, openKeyedHash } from "../db/index.ts";
import { mount, RateLimits } from "../http/index.ts";
import { Issuer, type IssuerParts } from "../issuer/index.ts";
import { Relay } from "../relay/index.ts";
import { checkDefinition, type Upstream, Upstreams } from "../upstreams/index.ts";
import { Vault } from "../vault/index.ts";
import { type CallReport, mcpRoutes } from "./index.ts";

const META = "io.modelcontextprotocol/";
const BASE = "http://localhost:8080";
const echo = { name: "echo", description: "Says it again", inputSchema: { type: "object" }, "x-kept": 1 };

// biome-ignore lint/suspicious/noExplicitAny: what comes back is looked at freely; the expectations are the types.
type Json = Record<string, any>;

/** Every part `/mcp` stands on, with a real database, mounted as in app.ts. */
class Bench {
  readonly world: TestWorld;
  readonly settings = testSettings({ allowedOrigins: ["https://app.example"] });
  readonly calls: CallReport[] = [];
  readonly seal: Seal;
  readonly keys: VirtualKeys;
  readonly upstreams: Upstreams;
  readonly vault: Vault;
  readonly relay: Relay;
  readonly audit: Audit;
  readonly access: Access;
  readonly database: Database;
  readonly hash: KeyedHash;
  #app: ReturnType<typeof mount> | undefined;

  constructor(world: TestWorld, database: Database, hash: KeyedHash, seal: Seal) {
    const ground = { world, database, hash, seal, settings: this.settings };
    const flows = new Flows(world, seal);
    this.world = world;
    this.database = database;
    this.hash = hash;
    this.seal = seal;
    this.audit = new Audit(ground);
    this.upstreams = new Upstreams(ground);
    this.keys = new VirtualKeys(ground);
    this.access = new Access({ world, database, upstreams: this.upstreams, keys: this.keys });
    const oauth = { recorded: async () => undefined };
    this.vault = new Vault({ ...ground, flows, outbox: new Outbox(world, seal), audit: this.audit, oauth });
    this.relay = new Relay({ ...ground, version: "1.2.3", upstreams: this.upstreams, vault: this.vault });
  }

  get app(): ReturnType<typeof mount> {
    if (this.#app) return this.#app;
    const { world, settings, keys, upstreams } = this;
    const flows = new Flows(world, this.seal);
    const limits = new RateLimits(world);
    const ground = { ...this, virtualKeys: keys, version: "1.2.3", limits, flows, rateLimits: limits };
    const routes = mcpRoutes({
      ...ground,
      issuer: new Issuer({ ...ground, sessionOf: async () => undefined } as unknown as IssuerParts),
      connect: new Connect({ ...ground, upstreams } as unknown as ConnectParts),
      onCall: (report) => this.calls.push(report),
    });
    this.#app = mount(routes, { world, settings, limits, authenticate: async () => undefined });
    return this.#app;
  }

  async upstream(peer: ScriptedUpstream, body: Json = {}, tools: Json[] = peer.tools): Promise<Upstream> {
    const definition = checkDefinition({
      name: "acme",
      connection_type: "http",
      connection_string: peer.url,
      tools_to_execute: ["*"],
      ...body,
    } as never);
    const { id } = await this.upstreams.create(definition, "api");
    await this.upstreams.recordTools(id, tools as never);
    return this.upstreams.get(id);
  }

  async key(name: string, configs: { upstreamId: string; tools: readonly string[] }[]) {
    const { key, value } = await this.keys.create({ name, configs, source: "api" });
    return { id: key.id, value: value.reveal(), owner: { mode: "vk", id: key.id } as Owner };
  }

  async connected(owner: Owner, upstream: Upstream, token = "at-1"): Promise<void> {
    const secret = {
      kind: "oauth",
      accessToken: new Hidden(token),
      oauthConfigId: upstream.oauthConfigId!,
    } as const;
    await this.database.transaction((tx) =>
      this.vault.put(tx, { owner, upstreamId: upstream.id, account: "", secret }),
    );
  }

  fetch(body: unknown, headers: Record<string, string> = {}, init: RequestInit & { path?: string } = {}) {
    const { path = "/mcp", ...rest } = init;
    return this.app.fetch(
      new Request(BASE + path, {
        method: "POST",
        body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
        ...rest,
        headers: {
          host: "localhost:8080",
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
          ...headers,
        },
      }),
    ) as Promise<Response>;
  }

  /** One modern request; `more` changes the body's params, `headers` the headers. */
  async modern(
    key: string,
    method: string,
    params: Json = {},
    headers: Record<string, string> = {},
    caps: Json = {},
  ) {
    const _meta = {
      [`${META}protocolVersion`]: "2026-07-28",
      [`${META}clientCapabilities`]: caps,
      ...params._meta,
    };
    const response = await this.fetch(
      { jsonrpc: "2.0", id: 7, method, params: { ...params, _meta } },
      {
        authorization: `Bearer ${key}`,
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": method,
        ...(typeof params.name === "string" && { "mcp-name": params.name }),
        ...headers,
      },
    );
    return { status: response.status, headers: response.headers, body: await json(response) };
  }

  async legacy(key: string, method: string, params: Json = {}, headers: Record<string, string> = {}) {
    const response = await this.fetch(
      { jsonrpc: "2.0", id: 7, method, params },
      { authorization: `Bearer ${key}`, ...headers },
    );
    return { status: response.status, headers: response.headers, body: await json(response) };
  }

  async session(key: string, capabilities: Json, protocolVersion = "2025-11-25") {
    const { headers, body } = await this.legacy(key, "initialize", { protocolVersion, capabilities });
    expect(body.result.protocolVersion).toBe(protocolVersion);
    return { "mcp-session-id": headers.get("mcp-session-id")!, "mcp-protocol-version": protocolVersion };
  }
}

async function json(response: Response): Promise<Json> {
  const text = await response.text();
  return text === "" ? {} : JSON.parse(text.startsWith("event:") ? text.split("data: ").at(-1)! : text);
}

let peer: ScriptedUpstream;
let outbound: Outbound;
let bench: Bench;

beforeEach(async () => {
  peer = await startScriptedUpstream({ tools: [echo, { name: "danger", inputSchema: { type: "object" } }] });
  outbound = openOutbound({ allow: { admin: [new URL(peer.url).host], stranger: [] } });
  const world = testWorld(outbound);
  const seal = new Seal([world.random(32)], world.random);
  const database = await openDatabase("sqlite::memory:", openLog("silent"));
  bench = new Bench(world, database, await openKeyedHash(database, seal, world), seal);
  await bench.upstreams.load();
});

afterEach(async () => {
  bench.relay.close();
  await outbound.close();
  await bench.database.close();
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
    ["MC-05 a batch", '[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600],
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
    await bench.upstreams.recordTools(bench.upstreams.all()[0]!.id, [tool, bad]);
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

describe("which tools", () => {
  test("ID-30 what is not allowed looks like what does not exist, and is never called", async () => {
    const upstream = await bench.upstream(peer);
    await bench.upstream(peer, { name: "other" });
    const { value } = await bench.key("k", [{ upstreamId: upstream.id, tools: ["echo"] }]);
    const listed = await bench.modern(value, "tools/list");
    expect(listed.body.result.tools.map((tool: Json) => tool.name)).toEqual(["acme-echo"]);
    const names = [
      "acme-danger",
      "other-echo",
      "echo",
      "acme-acme-echo",
      "ACME-echo",
      "acme-none",
      "constructor",
    ];
    const answers = await Promise.all(names.map((name) => bench.modern(value, "tools/call", { name })));
    for (const one of answers) {
      expect(one).toEqual({ ...answers[0], headers: expect.anything() });
      expect(one).toMatchObject({ status: 200, body: { error: { code: -32602 } } });
    }
    expect(peer.calls("tools/call")).toHaveLength(0);
    await bench.audit.flush();
    const denied = await bench.database.db
      .selectFrom("audit")
      .selectAll()
      .where("event", "=", "call.denied")
      .execute();
    expect(denied).toHaveLength(names.length);
  });

  test("request filters only narrow; present but empty is none", async () => {
    const upstream = await bench.upstream(peer);
    const other = await bench.upstream(peer, { name: "other" });
    const configs = [upstream, other].map(({ id }) => ({ upstreamId: id, tools: ["echo"] }));
    const { value } = await bench.key("k", configs);
    const names = async (headers: Record<string, string>) =>
      (await bench.modern(value, "tools/list", {}, headers)).body.result.tools.map((tool: Json) => tool.name);
    expect(await names({})).toEqual(["acme-echo", "other-echo"]);
    expect(await names({ "x-bf-mcp-include-clients": "" })).toEqual([]);
    expect(await names({ "x-bf-mcp-include-tools": "" })).toEqual([]);
    expect(await names({ "x-bf-mcp-include-clients": "acme" })).toEqual(["acme-echo"]);
    expect(await names({ "x-bf-mcp-include-tools": "other-*, acme-danger" })).toEqual(["other-echo"]);
    const filter = { "x-bf-mcp-include-clients": "other" };
    expect((await bench.modern(value, "tools/call", { name: "acme-echo" }, filter)).body.error.code).toBe(
      -32602,
    );
  });

  test("MC-18 MC-10 names that collide or deceive are hidden, in any order", async () => {
    const tools = [
      { name: "t" },
      { name: "t" },
      { name: "a\u202eb" },
      { name: "a\u0000" },
      { name: "größe" },
      { name: "ok" },
    ];
    const upstream = await bench.upstream(peer, {}, tools);
    const { value } = await bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }]);
    const { body } = await bench.modern(value, "tools/list");
    expect(body.result.tools.map((tool: Json) => tool.name)).toEqual(["acme-ok"]);
  });

  test("more than a thousand tools come in pages", async () => {
    const tools = Array.from({ length: 1500 }, (_, at) => ({ name: `t${String(at).padStart(4, "0")}` }));
    const upstream = await bench.upstream(peer, {}, tools);
    const { value } = await bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }]);
    const first = (await bench.modern(value, "tools/list")).body.result;
    const second = (await bench.modern(value, "tools/list", { cursor: first.nextCursor })).body.result;
    expect([first.tools.length, second.tools.length, second.nextCursor]).toEqual([1000, 500, undefined]);
    expect((await bench.modern(value, "tools/list", { cursor: "x" })).body.error.code).toBe(-32602);
  });
});

describe("answers", () => {
  let key: string;
  beforeEach(async () => {
    const upstream = await bench.upstream(peer);
    key = (await bench.key("k", [{ upstreamId: upstream.id, tools: ["*"] }])).value;
  });
  const call = (more: Json = {}) =>
    bench.modern(key, "tools/call", { name: "acme-echo", arguments: {}, ...more });

  test("progress opens a stream under the client's token; without SSE in Accept the answer is JSON", async () => {
    const progress = (exchange: { id: unknown }) => ({
      method: "notifications/progress",
      params: { progressToken: exchange.id, progress: 1 },
    });
    peer.on("tools/call", (exchange) =>
      answer.sse(
        progress(exchange),
        { method: "notifications/message", params: { data: "not asked for" } },
        { result: { resultType: "complete", content: [] } },
      )(exchange),
    );
    const _meta = { progressToken: "p" };
    const response = await bench.fetch(
      {
        jsonrpc: "2.0",
        id: 7,
        method: "tools/call",
        params: {
          name: "acme-echo",
          _meta: { ..._meta, [`${META}protocolVersion`]: "2026-07-28", [`${META}clientCapabilities`]: {} },
        },
      },
      {
        "x-bf-vk": key,
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "acme-echo",
      },
    );
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(response.headers.get("x-accel-buffering")).toBe("no");
    const events = (await response.text()).split("\n\n").filter(Boolean);
    const messages = events.map((event) => JSON.parse(event.split("data: ")[1]!));
    expect(messages).toMatchObject([
      { method: "notifications/progress", params: { progressToken: "p", progress: 1 } },
      { id: 7, result: { content: [] } },
    ]);
    const plain = await bench.modern(
      key,
      "tools/call",
      { name: "acme-echo", _meta },
      { accept: "application/json" },
    );
    expect(plain.headers.get("content-type")).toBe("application/json");
  });

  test("MC-29 MC-38 a failing upstream shows a code and its name, none of its headers or words", async () => {
    const secret = {
      "set-cookie": "a=b",
      "www-authenticate": 'Bearer resource_metadata="https://evil.example"',
    };
    for (const status of [302, 401, 403, 500]) {
      peer.next(answer.http(status, "stack at http://10.0.0.1 Bearer abc", secret), "tools/call");
      const { body, headers, status: ours } = await call();
      expect(ours).toBe(200);
      expect(headers.get("set-cookie") ?? headers.get("www-authenticate")).toBeNull();
      expect(body.error).toMatchObject({
        code: -32603,
        data: { mcp_client_name: "acme", event_id: expect.stringMatching(/^req_/) },
      });
      expect(JSON.stringify(body)).not.toMatch(/10\.0\.0\.1|abc|evil|127\.0\.0\.1/);
    }
  });

  test("errors and failed results of the upstream pass, codes of another hop do not", async () => {
    peer.next(answer.error(-32050, "theirs", { a: 1 }), "tools/call");
    expect((await call()).body.error).toEqual({ code: -32050, message: "theirs", data: { a: 1 } });
    peer.next(answer.result({ resultType: "complete", isError: true, content: TEXT("no") }), "tools/call");
    expect((await call()).body.result).toMatchObject({ isError: true, content: TEXT("no") });
    peer.next(answer.error(-32002, "gone"), "tools/call");
    expect((await call()).body.error.code).toBe(-32602);
    peer.next(answer.error(-32042, "open", { elicitations: [{ url: "https://x.example/y" }] }), "tools/call");
    const asked = (await call()).body;
    expect(asked.result).toMatchObject({
      isError: true,
      content: TEXT("acme needs you to open: https://x.example/y"),
    });
  });

  test("MC-32 MC-33 an upstream's question passes marked, its state sealed; the answer finds its way back", async () => {
    const question = {
      method: "elicitation/create",
      params: { mode: "form", message: "Sure?", requestedSchema: {} },
    };
    const asking = answer.result({
      resultType: "input_required",
      inputRequests: { q: question },
      requestState: "theirs",
    });
    const caps = { elicitation: { form: {} } };
    const params = { name: "acme-echo", arguments: { a: 1 } };
    peer.next(asking, "tools/call");
    const { result } = (await bench.modern(key, "tools/call", params, {}, caps)).body;
    expect(result.inputRequests.q.params.message).toBe("[acme] Sure?");
    expect(result.requestState).not.toContain("theirs");
    const retry = {
      ...params,
      requestState: result.requestState,
      inputResponses: { q: { action: "accept" } },
    };
    expect((await bench.modern(key, "tools/call", retry, {}, caps)).status).toBe(200);
    expect(peer.calls("tools/call").at(-1)?.body?.params).toMatchObject({
      requestState: "theirs",
      inputResponses: { q: { action: "accept" } },
    });
    peer.next(asking, "tools/call");
    const undeclared = (await bench.modern(key, "tools/call", params)).body.result;
    expect(undeclared).toMatchObject({ resultType: "complete", isError: true });
    peer.next(asking, "tools/call");
    expect((await bench.legacy(key, "tools/call", params)).body.result.isError).toBe(true);
  });
});

describe("auth required (contract section 5)", () => {
  let upstream: Upstream;
  let key: Awaited<ReturnType<Bench["key"]>>;
  const params = { name: "acme-echo", arguments: { a: 1 } };
  const caps = { elicitation: { url: {} } };

  beforeEach(async () => {
    peer.requireBearer = { token: "at-1" };
    upstream = await bench.upstream(peer, { auth_type: "per_user_oauth" });
    const other = await bench.upstream(peer, { name: "other", auth_type: "per_user_oauth" });
    key = await bench.key(
      "k",
      [upstream, other].map(({ id }) => ({ upstreamId: id, tools: ["*"] })),
    );
  });

  test("ID-21 MC-31 without URL elicitation: a text with the link, details in _meta, upstream not called", async () => {
    const { body } = await bench.modern(key.value, "tools/call", params);
    const required = body.result._meta.mcp_auth_required;
    expect(required).toMatchObject({
      kind: "oauth",
      mcp_client_id: upstream.id,
      mcp_client_name: "acme",
      also_required: ["other"],
      session_id: expect.any(String),
    });
    expect(required.authorize_url).toBe(`${BASE}/workspace/mcp-sessions/auth?flow=${required.session_id}`);
    const text = `Authentication required for acme. Open this URL to connect your account: ${required.authorize_url}`;
    expect(body.result).toMatchObject({ resultType: "complete", isError: true, content: TEXT(text) });
    expect(required.message).toBe(text);
    expect(peer.requests).toHaveLength(0);
    const again = await bench.legacy(key.value, "tools/call", params);
    expect(again.body.result._meta.mcp_auth_required.session_id).toBe(required.session_id);
  });

  test("2026-07-28 with URL elicitation: input_required; the repeated call succeeds after connecting", async () => {
    const asked = (await bench.modern(key.value, "tools/call", params, {}, caps)).body.result;
    expect(asked).toMatchObject({
      resultType: "input_required",
      inputRequests: {
        auth: {
          method: "elicitation/create",
          params: { mode: "url", url: expect.stringContaining("?flow=") },
        },
      },
      _meta: { mcp_auth_required: { mcp_client_name: "acme" } },
    });
    const retry = {
      ...params,
      requestState: asked.requestState,
      inputResponses: { auth: { action: "accept" } },
    };
    expect((await bench.modern(key.value, "tools/call", retry, {}, caps)).body.result.resultType).toBe(
      "input_required",
    );
    await bench.connected(key.owner, upstream);
    const done = (await bench.modern(key.value, "tools/call", retry, {}, caps)).body.result;
    expect(done).toMatchObject({ resultType: "complete", content: TEXT('{"a":1}') });
    expect(JSON.stringify(peer.requests.at(-1)?.body)).not.toMatch(/inputResponses|requestState/);
    const plain = (await bench.modern(key.value, "tools/call", params)).body.result;
    expect(plain.content).toEqual(TEXT('{"a":1}'));
  });

  test("who declines is not asked again in the same breath", async () => {
    const asked = (await bench.modern(key.value, "tools/call", params, {}, caps)).body.result;
    const retry = {
      ...params,
      requestState: asked.requestState,
      inputResponses: { auth: { action: "decline" } },
    };
    const told = (await bench.modern(key.value, "tools/call", retry, {}, caps)).body.result;
    expect(told).toMatchObject({ resultType: "complete", isError: true });
  });

  test("MC-32 a requestState serves only its caller, tool and arguments, and not for ever", async () => {
    const { requestState } = (await bench.modern(key.value, "tools/call", params, {}, caps)).body.result;
    const refused = async (value: string, call: Json) =>
      expect((await bench.modern(value, "tools/call", call, {}, caps)).body.error?.code).toBe(-32602);
    const stranger = await bench.key("s", [{ upstreamId: upstream.id, tools: ["*"] }]);
    await refused(stranger.value, { ...params, requestState });
    await refused(key.value, { ...params, arguments: { a: 2 }, requestState });
    await refused(key.value, { name: "acme-danger", arguments: { a: 1 }, requestState });
    const at = 30;
    const flipped = requestState[at] === "A" ? "B" : "A";
    await refused(key.value, {
      ...params,
      requestState: requestState.slice(0, at) + flipped + requestState.slice(at + 1),
    });
    await refused(key.value, { ...params, requestState: 5 });
    bench.world.advance(31 * 60_000);
    await refused(key.value, { ...params, requestState });
  });

  test("2025-11-25 with URL elicitation: -32042; 2025-06-18 and form mode alone: the text", async () => {
    const session = await bench.session(key.value, caps);
    const { error } = (await bench.legacy(key.value, "tools/call", params, session)).body;
    const required = error.data.mcp_auth_required;
    expect(error).toMatchObject({
      code: -32042,
      data: {
        elicitations: [{ mode: "url", elicitationId: required.session_id, url: required.authorize_url }],
      },
    });
    const older = await bench.session(key.value, caps, "2025-06-18");
    expect((await bench.legacy(key.value, "tools/call", params, older)).body.result.isError).toBe(true);
    const form = await bench.session(key.value, { elicitation: {} });
    expect((await bench.legacy(key.value, "tools/call", params, form)).body.result.isError).toBe(true);
  });

  test("an orphaned binding is refused without a link", async () => {
    await bench.connected(key.owner, upstream);
    await bench.database.transaction((tx) => bench.vault.setAccess(tx, key.owner, new Set()));
    const { result } = (await bench.modern(key.value, "tools/call", params, {}, caps)).body;
    expect(result.isError).toBe(true);
    expect(JSON.stringify(result)).not.toMatch(/https?:|mcp_auth_required/);
  });
});
