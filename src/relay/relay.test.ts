import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  answer,
  Drip,
  type ScriptedUpstream,
  startScriptedUpstream,
} from "../../test/peers/scripted-upstream.ts";
import { Hidden, type JsonObject, type Outbound, openLog, openOutbound, systemWorld } from "../base/index.ts";
import type { Credential, Opened } from "../vault/index.ts";
import { type ClientView, type Notification, Relay, type RelayCall, type RelayUpstream } from "./index.ts";

const modernClient: ClientView = { era: "modern", capabilities: {} };
const META = "io.modelcontextprotocol/";

let upstream: ScriptedUpstream;
let outbound: Outbound;
let relay: Relay;
let eras: string[];
let rejected: number[];
let open: (notGeneration?: number) => Opened;

beforeEach(async () => {
  upstream = await startScriptedUpstream();
  outbound = openOutbound({ allow: { admin: [new URL(upstream.url).host, "127.0.0.1:1"], stranger: [] } });
  eras = [];
  rejected = [];
  open = () => ({ outcome: "needs_user", reason: "missing" });
  relay = new Relay({
    world: systemWorld({ outbound, log: openLog("silent") }),
    version: "1.2.3",
    upstreams: { recordEra: async (_id, era) => void eras.push(era) },
    vault: {
      open: async (_owner, _upstream, _account, options) => open(options?.notGeneration),
      openWarm: () => undefined,
      markRejected: async (credential) => void rejected.push(credential.generation),
    },
  });
});

afterEach(async () => {
  relay.close();
  await outbound.close();
  await upstream.close();
});

function target(more: Partial<RelayUpstream> = {}): RelayUpstream {
  const url = new URL(upstream.url);
  return {
    id: "up_1",
    name: "acme",
    url,
    perUser: false,
    headers: {},
    generation: 1,
    timeoutMs: 5_000,
    ...more,
  };
}

function call(more: Partial<RelayCall> = {}, name = "echo", args: JsonObject = { a: 1 }) {
  return relay.call({
    upstream: target({ era: upstream.era }),
    method: "tools/call",
    params: { name, arguments: args },
    client: modernClient,
    signal: new AbortController().signal,
    ...more,
  });
}

function ready(generation: number, token = `token-${generation}`): Opened {
  const credential = { id: "cred_1", generation } as Credential;
  return {
    outcome: "ready",
    credential,
    authorize(headers) {
      headers.authorization = `Bearer ${token}`;
    },
  };
}

const rpcs = () => upstream.requests.map((request) => request.rpc);

describe("eras", () => {
  test("a cold call to a modern upstream takes two requests, a warm one takes one, and the era is remembered", async () => {
    const first = await call({ upstream: target() });
    expect(first).toMatchObject({
      outcome: "result",
      result: { content: [{ type: "text", text: '{"a":1}' }] },
    });
    expect(rpcs()).toEqual(["server/discover", "tools/call"]);
    await call({ upstream: target() });
    expect(rpcs()).toHaveLength(3);
    expect(eras).toEqual(["modern"]);
  });

  test("a cold call to an older upstream takes three requests, a warm one takes one", async () => {
    upstream.era = "legacy";
    expect((await call()).outcome).toBe("result");
    expect(rpcs()).toEqual(["initialize", "notifications/initialized", "tools/call"]);
    await call();
    expect(rpcs()).toHaveLength(4);
    const last = upstream.requests[3]!;
    expect(last.headers["mcp-protocol-version"]).toBe("2025-11-25");
    expect(upstream.sessions.has(String(last.headers["mcp-session-id"]))).toBe(true);
  });

  test("an older upstream is found out without the call being made twice (AV-16)", async () => {
    upstream.era = "legacy";
    expect((await call({ upstream: target() })).outcome).toBe("result");
    expect(rpcs()).toEqual(["server/discover", "initialize", "notifications/initialized", "tools/call"]);
    expect(eras).toEqual(["legacy"]);
  });

  test("an upstream that was replaced by one of the other era is found again", async () => {
    await call();
    upstream.era = "legacy";
    expect((await call()).outcome).toBe("result");
    upstream.era = "modern";
    expect((await call()).outcome).toBe("result");
    expect(upstream.calls("tools/call").at(-1)?.headers["mcp-method"]).toBe("tools/call");
  });

  test("a forgotten session is opened again, once", async () => {
    upstream.era = "legacy";
    await call();
    upstream.sessions.clear();
    expect((await call()).outcome).toBe("result");
    upstream.on("tools/call", answer.http(404));
    upstream.forgetRequests();
    expect(await call()).toEqual({ outcome: "failed", code: "upstream_protocol", retryable: false });
    expect(upstream.calls("tools/call")).toHaveLength(2);
  });

  test("many first calls open one session", async () => {
    upstream.era = "legacy";
    await Promise.all(Array.from({ length: 20 }, () => call()));
    expect(upstream.calls("initialize")).toHaveLength(1);
  });
});

describe("what goes out", () => {
  test("MC-28 headers are built from an empty set and `_meta` is written anew for this hop", async () => {
    const client: ClientView = {
      era: "modern",
      capabilities: { elicitation: { url: {} }, extensions: { x: {} } },
    };
    const _meta = {
      progressToken: "mine",
      "acme.example/kept": 1,
      [`${META}clientInfo`]: { name: "secret client" },
      [`${META}protocolVersion`]: "2026-07-28",
    };
    const paramHeaders = { "mcp-param-region": "eu" };
    await call({ client, paramHeaders, params: { name: "echo", arguments: {}, _meta } });
    const sent = upstream.requests[0]!;
    expect(Object.keys(sent.headers).sort()).toEqual([
      "accept",
      "connection",
      "content-length",
      "content-type",
      "host",
      "mcp-method",
      "mcp-name",
      "mcp-param-region",
      "mcp-protocol-version",
    ]);
    const meta = sent.body?.params?._meta;
    expect(meta).toMatchObject({
      "acme.example/kept": 1,
      [`${META}protocolVersion`]: "2026-07-28",
      [`${META}clientCapabilities`]: { elicitation: { url: {} } },
      [`${META}clientInfo`]: { name: "postern", version: "1.2.3" },
    });
    expect(meta?.progressToken).toBe(sent.body?.id);
    expect(JSON.stringify(sent.body)).not.toContain("secret client");
  });

  test("a name that is no plain header value travels as base64", async () => {
    upstream.on("tools/call", answer.result({ resultType: "complete", content: [] }));
    expect((await call({}, "größe\r\nx: y")).outcome).toBe("result");
    const name = String(upstream.requests[0]!.headers["mcp-name"]);
    expect(name).toBe(`=?base64?${Buffer.from("größe\r\nx: y").toString("base64")}?=`);
  });

  test("static headers go along and cannot replace those of the protocol", async () => {
    const headers = { "X-Api-Key": new Hidden("k"), "Mcp-Method": new Hidden("evil") };
    await call({ upstream: target({ era: "modern", headers }) });
    expect(upstream.requests[0]!.headers).toMatchObject({ "x-api-key": "k", "mcp-method": "tools/call" });
  });

  test("an older upstream gets no members of the modern revision", async () => {
    upstream.era = "legacy";
    const _meta = { [`${META}protocolVersion`]: "2026-07-28", [`${META}logLevel`]: "debug" };
    await call({ params: { name: "echo", arguments: {}, _meta, inputResponses: {}, requestState: "s" } });
    expect(upstream.calls("tools/call")[0]!.body?.params).toEqual({ name: "echo", arguments: {} });
    expect(upstream.calls("initialize")[0]!.body?.params?.capabilities).toEqual({});
  });
});

describe("credentials", () => {
  const owner = { mode: "vk", id: "vk_1" } as const;
  const personal = () => target({ era: upstream.era, perUser: true });

  test("ID-21 without a credential the upstream sees no request", async () => {
    expect(await call({ owner, upstream: personal() })).toEqual({ outcome: "needs_user", reason: "missing" });
    expect(await call({ upstream: personal() })).toEqual({ outcome: "needs_user", reason: "missing" });
    open = () => ({ outcome: "unavailable" });
    expect(await call({ owner, upstream: personal() })).toMatchObject({
      code: "credential_unavailable",
      retryable: true,
    });
    expect(upstream.requests).toHaveLength(0);
  });

  test.each(["modern", "legacy"] as const)("UP-18 a rejected token is exchanged once (%s)", async (era) => {
    upstream.era = era;
    upstream.requireBearer = { token: "token-2" };
    open = (not) => ready(not === 1 ? 2 : 1);
    expect((await call({ owner, upstream: personal() })).outcome).toBe("result");
    expect(rejected).toEqual([1]);
  });

  test("UP-18 two rejections end in needs_user, with two requests in all", async () => {
    upstream.requireBearer = { token: "other" };
    open = (not) => ready(not === 1 ? 2 : 1);
    expect(await call({ owner, upstream: personal() })).toEqual({
      outcome: "needs_user",
      reason: "needs_reauth",
    });
    expect(rejected).toEqual([1, 2]);
    expect(upstream.requests).toHaveLength(2);
  });

  test("403 asks for another token only with a challenge", async () => {
    open = (not) => (not === undefined ? ready(1) : { outcome: "needs_user", reason: "needs_reauth" });
    upstream.next(answer.http(403, ""));
    expect(await call({ owner, upstream: personal() })).toMatchObject({ code: "upstream_refused" });
    expect(rejected).toEqual([]);
    upstream.next(answer.http(403, "", { "www-authenticate": 'Bearer error="insufficient_scope"' }));
    expect(await call({ owner, upstream: personal() })).toEqual({
      outcome: "needs_user",
      reason: "needs_reauth",
    });
  });

  test("a session of an older upstream is never shared between people or generations", async () => {
    upstream.era = "legacy";
    let generation = 1;
    open = () => ready(generation);
    for (const id of ["a", "b"]) await call({ owner: { mode: "user", id }, upstream: personal() });
    generation = 2;
    await call({ owner: { mode: "user", id: "a" }, upstream: personal() });
    expect(upstream.calls("initialize")).toHaveLength(3);
  });

  test("a shared upstream's 401 is no challenge for anybody", async () => {
    upstream.next(answer.unauthorized('Bearer resource_metadata="https://evil.example"'));
    expect(await call()).toMatchObject({ outcome: "failed", code: "upstream_refused" });
  });
});

describe("what comes back", () => {
  const complete = { resultType: "complete", content: [{ type: "text", text: "ok" }] };
  const bad = { outcome: "failed", code: "upstream_protocol", retryable: false };

  test.each<[string, unknown]>([
    ["not JSON", answer.http(200, "{", { "content-type": "application/json" })],
    [
      "duplicate keys",
      answer.http(200, '{"jsonrpc":"2.0","id":1,"id":1}', { "content-type": "application/json" }),
    ],
    ["wrong jsonrpc", answer.http(200, { jsonrpc: "1.0", id: 1, result: complete })],
    ["another id", answer.http(200, { jsonrpc: "2.0", id: 999, result: complete })],
    ["a string id", answer.http(200, { jsonrpc: "2.0", id: "1", result: complete })],
    ["no id", answer.http(200, { jsonrpc: "2.0", result: complete })],
    [
      "result and error",
      answer.http(200, { jsonrpc: "2.0", id: 1, result: complete, error: { code: 1, message: "" } }),
    ],
    ["a batch", answer.http(200, [{ jsonrpc: "2.0", id: 1, result: complete }])],
    ["content that is no list", answer.result({ resultType: "complete", content: "x" })],
    ["an unknown resultType", answer.result({ resultType: "task", content: [] })],
    ["an error that is none", answer.http(200, { jsonrpc: "2.0", id: 1, error: "x" })],
    ["HTML", answer.http(200, "<p>hello</p>", { "content-type": "text/html" })],
    ["204", answer.http(204)],
    ["a redirect", answer.http(307, "", { location: "http://127.0.0.1:1/" })],
    ["compression", answer.http(200, "", { "content-type": "application/json", "content-encoding": "gzip" })],
    ["a stream without answer", answer.sse({ method: "notifications/message", params: {} })],
    ["a request on a modern stream", answer.sse({ id: 5, method: "roots/list" }, { result: complete })],
    ["too many input requests", answer.result({ resultType: "input_required", inputRequests: many(17) })],
  ])("MC-25 %s is one clean failure and the next call works", async (_name, handler) => {
    upstream.next(handler as ReturnType<typeof answer.http>, "tools/call");
    expect(await call()).toEqual(bad);
    expect((await call()).outcome).toBe("result");
  });

  test("errors of the upstream pass, with any status", async () => {
    upstream.next(answer.error(-32602, "Unknown tool", { a: 1 }));
    expect(await call()).toEqual({
      outcome: "error",
      error: { code: -32602, message: "Unknown tool", data: { a: 1 } },
    });
    upstream.next(answer.error(-32021, "Missing", { requiredCapabilities: {} }, 400));
    expect(await call()).toMatchObject({ outcome: "error", error: { code: -32021 } });
  });

  test("unknown content, big numbers and `_meta` come through as they were", async () => {
    const text =
      '{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"hologram"}],"n":12345678901234567890,"_meta":{"a":{}}}}';
    upstream.next(answer.http(200, text, { "content-type": "application/json" }));
    const relayed = await call();
    expect(JSON.stringify(relayed)).toContain('"n":12345678901234567890,"_meta":{"a":{}}');
  });

  test("MC-16 progress comes back under the client's own token, foreign progress nowhere", async () => {
    upstream.on("tools/call", (exchange) =>
      answer.sse(
        { method: "notifications/progress", params: { progressToken: exchange.id, progress: 1 } },
        { method: "notifications/progress", params: { progressToken: 4711, progress: 2 } },
        { method: "notifications/message", params: { level: "info", data: "x" } },
        { method: "notifications/tools/list_changed" },
        { result: complete },
      )(exchange),
    );
    const got: Notification[] = [];
    const params = { name: "echo", arguments: {}, _meta: { progressToken: "p1" } };
    const relayed = await call({ params, onNotification: (notification) => void got.push(notification) });
    expect(relayed).toEqual({ outcome: "result", result: complete });
    expect(got).toEqual([
      { method: "notifications/progress", params: { progressToken: "p1", progress: 1 } },
      { method: "notifications/message", params: { level: "info", data: "x" } },
    ]);
  });

  test("an older upstream's own requests are refused, its ping answered, and the call goes on", async () => {
    upstream.era = "legacy";
    const pong = upstream.arrival("POST");
    upstream.next(answer.sse({ id: "s1", method: "ping" }, { result: { content: [] } }), "tools/call");
    expect((await call()).outcome).toBe("result");
    expect((await pong).body).toMatchObject({ id: "s1", result: {} });
    const refusal = upstream.arrival("POST");
    upstream.next(
      answer.sse({ id: "s2", method: "sampling/createMessage" }, { result: { content: [] } }),
      "tools/call",
    );
    expect((await call()).outcome).toBe("result");
    expect((await refusal).body).toMatchObject({ id: "s2", error: { code: -32601 } });
  });

  test("MC-26 more than 16 MiB is refused without being read", async () => {
    upstream.next(answer.huge(64 * 1024 * 1024));
    expect(await call()).toEqual({ outcome: "failed", code: "upstream_too_large", retryable: false });
  });

  test("MC-26 an endless line on a stream is refused", async () => {
    const drip = new Drip();
    const piece = "x".repeat(1024 * 1024);
    for (let at = 0; at < 20; at++) drip.push(at === 0 ? `data: ${piece}` : piece);
    upstream.next(answer.drip(drip));
    expect(await call()).toMatchObject({ code: "upstream_too_large" });
    drip.end();
  });

  test("MC-26 silence ends with the upstream's timeout, an older one is told", async () => {
    upstream.era = "legacy";
    await call();
    upstream.next(answer.silence(), "tools/call");
    const told = upstream.arrival("notifications/cancelled");
    const relayed = await call({ upstream: target({ era: "legacy", timeoutMs: 100 }) });
    expect(relayed).toEqual({ outcome: "failed", code: "upstream_timeout", retryable: false });
    expect((await told).body?.params?.requestId).toBe(upstream.calls("tools/call").at(-1)?.body?.id);
  });

  test("MC-26 progress keeps a call alive, but not for ever", async () => {
    upstream.next(async ({ res, id }) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      const note = { jsonrpc: "2.0", method: "notifications/progress", params: { progressToken: id } };
      const timer = setInterval(() => res.write(`data: ${JSON.stringify(note)}\n\n`), 10);
      res.on("close", () => clearInterval(timer));
    });
    const relayed = await call({ upstream: target({ era: "modern", timeoutMs: 60 }) });
    expect(relayed).toMatchObject({ code: "upstream_timeout" });
  });

  test("MC-26 the client going away aborts the upstream request", async () => {
    const leaving = new AbortController();
    const gone = new Promise<void>((resolve) => {
      upstream.next(({ res }) => {
        res.on("close", resolve);
        leaving.abort();
      });
    });
    expect(await call({ signal: leaving.signal })).toMatchObject({ code: "cancelled" });
    await gone;
  });

  test("a client that does not read holds the upstream back until patience ends", async () => {
    upstream.next(answer.sse({ method: "notifications/message", params: {} }, { result: complete }));
    const onNotification = () => new Promise<void>(() => {});
    const relayed = await call({ upstream: target({ era: "modern", timeoutMs: 60 }), onNotification });
    expect(relayed).toMatchObject({ code: "upstream_timeout" });
  });

  test.each([
    // Allowed, and nothing listens there.
    ["an upstream that is not there", "http://127.0.0.1:1/mcp", "upstream_unreachable", true],
    ["an address that is not allowed", "http://169.254.169.254/", "upstream_address_refused", false],
  ] as const)("%s fails in words of its own", async (_name, url, code, retryable) => {
    const relayed = await call({ upstream: target({ era: "modern", url: new URL(url) }) });
    expect(relayed).toEqual({ outcome: "failed", code, retryable });
  });

  test("a cut connection is not repeated: the call may have had effects (AV-16)", async () => {
    upstream.next(answer.reset(), "tools/call");
    expect(await call()).toMatchObject({ code: "upstream_unreachable", retryable: false });
    upstream.next(answer.resetAfter({ method: "notifications/message", params: {} }), "tools/call");
    expect(await call()).toMatchObject({ outcome: "failed", retryable: false });
    expect(upstream.calls("tools/call")).toHaveLength(2);
  });
});

describe("listTools", () => {
  test("reads every page, an empty cursor too, and keeps every field", async () => {
    const pages: Record<string, unknown> = { first: "", "": "c2", c2: undefined };
    upstream.on("tools/list", (exchange) => {
      const cursor = (exchange.request.body?.params?.cursor as string | undefined) ?? "first";
      const tool = { name: `t-${cursor}`, "x-unknown": { deep: true } };
      return answer.result({ resultType: "complete", tools: [tool], nextCursor: pages[cursor] })(exchange);
    });
    const tools = await relay.listTools(target({ era: "modern" }));
    expect(tools.map((tool) => tool.name)).toEqual(["t-first", "t-", "t-c2"]);
    expect(tools[0]).toMatchObject({ "x-unknown": { deep: true } });
  });

  test("an endless list ends", async () => {
    upstream.on(
      "tools/list",
      answer.result({ resultType: "complete", tools: [{ name: "t" }], nextCursor: "more" }),
    );
    expect(await relay.listTools(target({ era: "modern" }))).toHaveLength(64);
  });

  test("says why it could not ask", async () => {
    upstream.next(answer.http(500));
    await expect(relay.listTools(target({ era: "modern" }))).rejects.toMatchObject({
      code: "upstream_unreachable",
    });
    await expect(relay.listTools(target({ era: "modern", perUser: true }))).rejects.toMatchObject({
      code: "credential_missing",
    });
  });
});

function many(count: number): JsonObject {
  return Object.fromEntries(
    Array.from({ length: count }, (_, at) => [`r${at}`, { method: "elicitation/create", params: {} }]),
  );
}
