import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { answer, type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { type Bench, echo, type Json, openBench } from "./endpoint.suite.ts";

const read = {
  name: "read_page",
  title: "Read a page",
  description: "Reads one page of the handbook",
  inputSchema: { type: "object", properties: { page: { type: "string" } } },
  outputSchema: { type: "object" },
  annotations: { readOnlyHint: true },
  icons: [{ src: "data:image/png;base64,AA==" }],
};
const region = {
  name: "by_region",
  description: "Needs a header",
  inputSchema: {
    type: "object",
    properties: { region: { type: "string", "x-mcp-header": "Region" } },
  },
};

let peer: ScriptedUpstream;
let bench: Bench;

beforeEach(async () => {
  peer = await startScriptedUpstream({ tools: [echo, read, region] });
  bench = await openBench(peer);
});

afterEach(async () => {
  await bench.close();
  await peer.close();
});

/** A key for all of `acme` and `other`, and a virtual MCP `many` of it where tools are searched. */
async function many(more: { names?: "plain"; body?: Json; tools?: Json[]; allowed?: string[] } = {}) {
  if (more.tools) peer.tools = more.tools as never;
  const acme = await bench.upstream(peer, more.body);
  const other = await bench.upstream(peer, { name: "other" });
  const key = await bench.key("k", [
    { upstreamId: acme.id, tools: more.allowed ?? ["*"] },
    { upstreamId: other.id, tools: ["*"] },
  ]);
  const bundled = more.names === "plain" ? [acme] : [acme, other];
  await bench.virtualMcps.create({
    slug: "many",
    name: "Many tools",
    names: more.names,
    listing: "search",
    upstreams: bundled.map(({ id }) => ({ upstreamId: id, tools: ["*"] })),
    virtualKeyIds: [key.id],
    userIds: [],
    source: "api",
  });
  return { acme, other, key };
}

const at = { path: "/mcp/many" };
const send = (key: string, method: string, params: Json = {}, headers: Json = {}, caps: Json = {}) =>
  bench.modern(key, method, params, headers, caps, undefined, at.path);

const listed = async (key: string, headers: Json = {}): Promise<Json[]> =>
  (await send(key, "tools/list", {}, headers)).body.result.tools;

async function search(key: string, query: string, more: Json = {}, headers: Json = {}): Promise<Json> {
  const params = { name: "search_tools", arguments: { query, ...more } };
  const { result } = (await send(key, "tools/call", params, headers)).body;
  expect(JSON.parse(result.content[0].text)).toEqual(result.structuredContent);
  return result.structuredContent;
}

const found = async (...args: Parameters<typeof search>): Promise<string[]> =>
  (await search(...args)).tools.map((tool: Json) => tool.name);

const call = (key: string, name: unknown, args?: unknown, headers: Json = {}, caps: Json = {}) =>
  send(key, "tools/call", { name: "call_tool", arguments: { name, arguments: args } }, headers, caps);

async function trail(event: string): Promise<Json[]> {
  await bench.audit.flush();
  const lines = await bench.database.db
    .selectFrom("audit")
    .select("detail_json")
    .where("event", "=", event)
    .execute();
  return lines.map((line) => JSON.parse(line.detail_json));
}

describe("the list", () => {
  test("has two tools in place of all; elsewhere it is as ever", async () => {
    const { key } = await many();
    const tools = await listed(key.value);
    expect(tools.map(({ name }) => name)).toEqual(["call_tool", "search_tools"]);
    expect(tools[1]!.description).toContain("Finds the tools of: acme, other.");
    expect(tools[1]).toMatchObject({ outputSchema: { type: "object" }, annotations: { readOnlyHint: true } });
    expect(tools[0]!.annotations).toMatchObject({ readOnlyHint: false, destructiveHint: true });
    const whole = await bench.modern(key.value, "tools/list");
    expect(whole.body.result.tools).toHaveLength(6);
    const elsewhere = { name: "search_tools", arguments: { query: "page" } };
    expect((await bench.modern(key.value, "tools/call", elsewhere)).body.error.code).toBe(-32602);
  });

  test("names only servers of which something is left, and is empty when nothing is", async () => {
    const { key } = await many();
    const [, searching] = await listed(key.value, { "x-bf-mcp-include-clients": "other" });
    expect(searching!.description).toContain("Finds the tools of: other.");
    expect(await listed(key.value, { "x-bf-mcp-include-tools": "" })).toEqual([]);
  });

  test("keeps the tools that connect an account, beside the two", async () => {
    const { key } = await many({ body: { auth_type: "per_user_oauth" } });
    expect((await listed(key.value)).map(({ name }) => name)).toEqual([
      "call_tool",
      "connect_acme",
      "search_tools",
    ]);
    for (const made of [
      await call(key.value, "connect_acme", {}),
      await send(key.value, "tools/call", { name: "connect_acme" }),
    ])
      expect(made.body.result._meta.mcp_auth_required).toMatchObject({ mcp_client_name: "acme" });
  });
});

describe("search_tools", () => {
  test("answers with definitions, the best first, and how many more there are", async () => {
    const { key } = await many();
    const { tools, more } = await search(key.value, "read a page of the handbook", { limit: 1 });
    const { title, description, inputSchema, annotations } = read;
    expect(tools).toEqual([{ name: "acme-read_page", title, description, inputSchema, annotations }]);
    expect(more).toBe(1);
    expect(await found(key.value, "page")).toEqual(["acme-read_page", "other-read_page"]);
    expect(await found(key.value, "other page")).toEqual([
      "other-read_page",
      "acme-read_page",
      "other-echo",
      "other-by_region",
    ]);
    expect(await search(key.value, "zebra")).toEqual({ tools: [], more: 0 });
    expect(await search(key.value, "", { limit: 2 })).toMatchObject({ more: 4 });
  });

  test("ID-30 finds what would be listed for this caller and request, and nothing else", async () => {
    const { key, acme } = await many({ allowed: ["echo"] });
    expect(await found(key.value, "page")).toEqual(["other-read_page"]);
    expect(await found(key.value, "")).toEqual([
      "acme-echo",
      "other-by_region",
      "other-echo",
      "other-read_page",
    ]);
    expect(await found(key.value, "", {}, { "x-bf-mcp-include-tools": "other-echo" })).toEqual([
      "other-echo",
    ]);
    expect(await found(key.value, "", {}, { "x-bf-mcp-include-clients": "" })).toEqual([]);
    await bench.upstreams.update(acme.id, { disabled: true });
    expect(await found(key.value, "echo")).toEqual(["other-echo"]);
  });

  test("sees a catalogue that changed", async () => {
    const { key, acme } = await many();
    expect(await found(key.value, "page")).toEqual(["acme-read_page", "other-read_page"]);
    await bench.upstreams.recordTools(acme.id, [echo, region] as never);
    expect(await found(key.value, "page")).toEqual(["other-read_page"]);
    await bench.upstreams.recordTools(acme.id, peer.tools as never);
    expect(await found(key.value, "page")).toEqual(["acme-read_page", "other-read_page"]);
  });

  test("shows a tool once more for each account, right behind it", async () => {
    const { key, acme } = await many({ body: { auth_type: "per_user_oauth" } });
    await bench.connected(key.owner, acme, "at-1");
    await bench.connected(key.owner, acme, "at-2", "work");
    expect(await found(key.value, "page")).toEqual([
      "acme-read_page",
      "acme-read_page__work",
      "other-read_page",
    ]);
    const only = { "x-bf-mcp-include-tools": "acme-read_page__work" };
    expect(await found(key.value, "page", {}, only)).toEqual(["acme-read_page__work"]);
    await call(key.value, "acme-read_page__work", {});
    expect(peer.calls("tools/call")[0]!.headers.authorization).toBe("Bearer at-2");
  });

  test("is bounded in size, and shows a definition that is too large without its schema", async () => {
    const wide = Object.fromEntries(
      Array.from({ length: 400 }, (_, at) => [`member_${at}`, { type: "string" }]),
    );
    const tools = Array.from({ length: 20 }, (_, at) => ({
      name: `wide_${String(at).padStart(2, "0")}`,
      inputSchema: { type: "object", properties: wide },
    }));
    const bomb = {
      name: "bomb",
      description: "x".repeat(100_000),
      inputSchema: { type: "object", properties: wide },
    };
    const { key } = await many({ tools: [...tools, bomb] });
    const few = await search(key.value, "wide", { limit: 50 });
    expect(few.tools.length + few.more).toBe(40);
    expect(few.tools.length).toBeGreaterThan(1);
    expect(JSON.stringify(few).length).toBeLessThan(70_000);
    const [shown] = (await search(key.value, "bomb")).tools;
    expect(shown).toMatchObject({ name: "acme-bomb", inputSchema: { type: "object" } });
    expect(JSON.stringify(shown).length).toBeLessThan(3_000);
  });

  test.each([
    [{}],
    [{ query: 7 }],
    [{ query: "x", limit: 0 }],
    [{ query: "x", limit: 51 }],
    [{ query: "x", limit: "5" }],
  ])("tells the model what is wrong with %j", async (args) => {
    const { key } = await many();
    const { result } = (await send(key.value, "tools/call", { name: "search_tools", arguments: args })).body;
    expect(result).toMatchObject({ isError: true, resultType: "complete" });
  });
});

describe("call_tool", () => {
  test("calls by the same decision, and the audit line names the real tool", async () => {
    const { key } = await many({ allowed: ["echo"] });
    const { result } = (await call(key.value, "acme-echo", { a: 1 })).body;
    expect(result).toMatchObject({ resultType: "complete" });
    expect(peer.calls("tools/call")[0]!.body).toMatchObject({
      params: { name: "echo", arguments: { a: 1 } },
    });
    for (const name of ["acme-read_page", "none", "call_tool", "search_tools"]) {
      const refused = (await call(key.value, name, {})).body.result;
      expect(refused, name).toMatchObject({
        isError: true,
        content: [{ text: expect.stringContaining("search_tools") }],
      });
    }
    expect(peer.calls("tools/call")).toHaveLength(1);
    expect(await trail("call.made")).toEqual([{ tool: "echo", outcome: "result", virtual_mcp: "many" }]);
    expect(await trail("call.denied")).toContainEqual({ tool: "acme-read_page" });
    expect(bench.calls.map(({ tool }) => tool)).toEqual(["echo"]);
  });

  test("tools can be called by their own names as well, by the same decision", async () => {
    const { key } = await many({ allowed: ["echo"] });
    expect((await send(key.value, "tools/call", { name: "acme-echo" })).body.result).toBeDefined();
    expect((await send(key.value, "tools/call", { name: "acme-read_page" })).body.error.code).toBe(-32602);
    const filter = { "x-bf-mcp-include-tools": "other-*" };
    expect((await call(key.value, "acme-echo", {}, filter)).body.result.isError).toBe(true);
  });

  test("leaves the arguments out where there are none", async () => {
    const { key } = await many();
    await send(key.value, "tools/call", { name: "call_tool", arguments: { name: "acme-echo" } });
    expect(peer.calls("tools/call")[0]!.body).toMatchObject({ params: { name: "echo" } });
    expect((peer.calls("tools/call")[0]!.body as Json).params.arguments).toBeUndefined();
  });

  test.each([
    [undefined],
    [{}],
    [{ name: 7 }],
    [{ name: "acme-echo", arguments: "{}" }],
    [{ name: "acme-echo", arguments: [] }],
  ])("tells the model what is wrong with %j", async (args) => {
    const { key } = await many();
    const { result } = (await send(key.value, "tools/call", { name: "call_tool", arguments: args })).body;
    expect(result).toMatchObject({ isError: true });
    expect(peer.calls("tools/call")).toHaveLength(0);
  });

  test("MC-11 Mcp-Name is the outer tool's; headers of the inner one are ours to make", async () => {
    const { key } = await many();
    const wrong = await call(key.value, "acme-by_region", { region: "eu" }, { "mcp-name": "acme-by_region" });
    expect(wrong).toMatchObject({ status: 400, body: { error: { code: -32020 } } });
    expect((await call(key.value, "acme-by_region", { region: "eu" })).body.result.isError).toBeUndefined();
    expect(peer.calls("tools/call")[0]!.headers["mcp-param-region"]).toBe("eu");
    const direct = { name: "acme-by_region", arguments: { region: "eu" } };
    expect((await send(key.value, "tools/call", direct)).body.error.code).toBe(-32020);
  });

  test("shows plain names where the bundle has them, and ours before an upstream's", async () => {
    const own = [echo, { ...echo, name: "search_tools" }, { ...echo, name: "connect_acme" }];
    const { key } = await many({ names: "plain", tools: own });
    expect((await listed(key.value)).map(({ name }) => name)).toEqual(["call_tool", "search_tools"]);
    expect(await found(key.value, "")).toEqual(["connect_acme", "echo", "search_tools"]);
    expect((await call(key.value, "search_tools", {})).body.result.isError).toBeUndefined();
    expect(peer.calls("tools/call")[0]!.body).toMatchObject({ params: { name: "search_tools" } });
    expect((await call(key.value, "acme-echo", {})).body.result.isError).toBe(true);
  });

  test("asks for a missing account in the form the client takes; the repeat is the outer call", async () => {
    const { key, acme } = await many({ body: { auth_type: "per_user_oauth" } });
    const caps = { elicitation: { url: {} } };
    const asked = (await call(key.value, "acme-echo", { a: 1 }, {}, caps)).body.result;
    expect(asked).toMatchObject({ resultType: "input_required", inputRequests: { auth: {} } });
    await bench.connected(key.owner, acme);
    const round = { requestState: asked.requestState, inputResponses: { auth: { action: "accept" } } };
    const outer = (args: Json) => ({
      name: "call_tool",
      arguments: { name: "acme-echo", arguments: args },
      ...round,
    });
    const other = [outer({ a: 2 }), { name: "acme-echo", arguments: { a: 1 }, ...round }];
    for (const params of other)
      expect((await send(key.value, "tools/call", params, {}, caps)).body.error).toMatchObject({
        code: -32602,
      });
    const done = (await send(key.value, "tools/call", outer({ a: 1 }), {}, caps)).body;
    expect(done.result).toMatchObject({ resultType: "complete" });
    expect(peer.calls("tools/call")).toHaveLength(1);
  });

  test("MC-32 an upstream's question and its state pass through, bound to the outer call", async () => {
    const { key } = await many();
    const asks = {
      resultType: "input_required",
      requestState: "theirs",
      inputRequests: { q: { method: "roots/list" } },
    };
    peer.next(answer.result(asks), "tools/call");
    const asked = (await call(key.value, "acme-echo", { a: 1 }, {}, { roots: {} })).body.result;
    const { requestState } = asked;
    expect(requestState).not.toBe("theirs");
    const round = { requestState, inputResponses: { q: { roots: [] } } };
    const direct = { name: "acme-echo", arguments: { a: 1 }, ...round };
    expect((await send(key.value, "tools/call", direct, {}, { roots: {} })).body.error.code).toBe(-32602);
    const outer = { name: "call_tool", arguments: { name: "acme-echo", arguments: { a: 1 } }, ...round };
    expect((await send(key.value, "tools/call", outer, {}, { roots: {} })).body.result.resultType).toBe(
      "complete",
    );
    expect(peer.calls("tools/call")[1]!.body).toMatchObject({
      params: {
        name: "echo",
        arguments: { a: 1 },
        requestState: "theirs",
        inputResponses: { q: { roots: [] } },
      },
    });
  });
});
