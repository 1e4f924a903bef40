import { Client as Client2, StreamableHTTPClientTransport as Transport2 } from "@modelcontextprotocol/client";
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as Transport1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "../peers/free-port.ts";
import { startLoopbackServer } from "../peers/loopback-server.ts";
import {
  answer,
  type Handler,
  type ScriptedUpstream,
  startScriptedUpstream,
} from "../peers/scripted-upstream.ts";
import { type HostileStage, openHostileStage } from "./stage.ts";

// Issue 4, "Bad input": schemas that are bombs. The official clients, which read every definition and compile every output
// schema, list the tools of the other upstreams all the same, and calls go on meanwhile.

type Json = Record<string, unknown>;

let stage: HostileStage;
let bomb: ScriptedUpstream;
let canary: Awaited<ReturnType<typeof startLoopbackServer>>;
let visits = 0;
beforeAll(async () => {
  canary = await startLoopbackServer((_req, res) => {
    visits += 1;
    res.end("{}");
  });
  const port = await freePort();
  stage = await openHostileStage("modern", {
    allow: [`127.0.0.1:${port}`, new URL(canary.origin).host],
    timeoutS: 30,
  });
  bomb = await startScriptedUpstream({ port });
});
afterAll(async () => {
  await stage.close();
  await bomb.close();
  await canary.close();
});

const object = (more: Json = {}): Json => ({ type: "object", ...more });
const plain = { name: "plain", inputSchema: object() };
const deep = (levels: number) => `${'{"allOf":['.repeat(levels)}{}${"]}".repeat(levels)}`;
const meta = { resultType: "complete", ttlMs: 0, cacheScope: "private" };

let last = 0;
/** Connects an upstream with these tools, and lists as both official clients do while Bob calls. */
async function listed(tools: Handler | unknown[], features: Record<string, Handler> = {}) {
  const name = `bomb${++last}`;
  bomb.on("tools/list", Array.isArray(tools) ? answer.result({ ...meta, tools }) : tools);
  const capabilities = { tools: {}, prompts: {}, resources: {} };
  bomb.on("server/discover", answer.result({ ...meta, supportedVersions: ["2026-07-28"], capabilities }));
  for (const method of ["prompts/list", "resources/list", "resources/templates/list"])
    bomb.on(method, features[method] ?? answer.error(-32601, "Method not found", undefined, 404));
  const waiting = await stage.bobWaits();
  const definition = { name, connection_type: "http", connection_string: bomb.url, auth_type: "none" };
  const { mcp_client_id } = await stage.gateway.admin<{ mcp_client_id: string }>("POST", "/api/mcp/client", {
    ...definition,
    tools_to_execute: ["*"],
    allow_on_all_virtual_keys: true,
  });
  const refreshed = stage.gateway.admin("POST", `/api/mcp/client/${mcp_client_id}/refresh-tools`).then(
    () => "listed",
    () => "refused",
  );
  const { bob } = stage;
  const meanwhile = await bob.call("good-echo", { a: 1 });
  expect(meanwhile.message.result.content[0].text).toBe('{"a":1}');
  const outcome = await refreshed;
  const clients = [await listWith1(), await listWith2()];
  expect(await waiting.release()).toBe(bob.marker);
  for (const names of clients) expect(names).toEqual(expect.arrayContaining(["evil-tool", "good-echo"]));
  expect(visits).toBe(0);
  const own = clients.map((names) =>
    names.filter((one) => one.startsWith(`${name}-`)).map((one) => one.slice(name.length + 1)),
  );
  return {
    outcome,
    older: own[0],
    newer: own[1],
    name,
    end: () => stage.gateway.admin("DELETE", `/api/mcp/client/${mcp_client_id}`),
  };
}

const options = () => ({ requestInit: { headers: { authorization: `Bearer ${stage.alice.key}` } } });

async function listWith1(): Promise<string[]> {
  const client = new Client1({ name: "one", version: "1" });
  await client.connect(new Transport1(new URL("/mcp", stage.gateway.url), options()) as never);
  const names: string[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await client.listTools(cursor === undefined ? undefined : { cursor });
    names.push(...page.tools.map((tool) => tool.name));
    cursor = page.nextCursor;
    if (cursor === undefined) break;
  }
  await client.listPrompts().catch(unoffered);
  await client.listResources().catch(unoffered);
  await client.listResourceTemplates().catch(unoffered);
  await client.close();
  return names;
}

async function listWith2(): Promise<string[]> {
  const client = new Client2(
    { name: "two", version: "1" },
    { versionNegotiation: { mode: { pin: "2026-07-28" } } },
  );
  await client.connect(new Transport2(new URL("/mcp", stage.gateway.url), options()));
  const { tools } = await client.listTools();
  await client.listPrompts().catch(unoffered);
  await client.listResources().catch(unoffered);
  await client.listResourceTemplates().catch(unoffered);
  await client.close();
  return tools.map((tool) => tool.name);
}

/** No such list for this caller; anything else is a list that could not be read. */
function unoffered(error: { code?: unknown; message?: string }): void {
  if (error.code !== -32601 && !/not support|404/.test(String(error.message))) throw error;
}

describe("MC-23 schemas that are bombs", () => {
  const schemas: [string, Json][] = [
    ["a circle", object({ properties: { self: { $ref: "#" } } })],
    ["a circle without an end", object({ allOf: [{ $ref: "#" }] })],
    [
      "two that name each other",
      object({ $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } }, $ref: "#/$defs/a" }),
    ],
    ["a reference that leads nowhere", object({ properties: { a: { $ref: "#/$defs/nowhere" } } })],
    [
      "dynamic references in a loop",
      object({ $dynamicAnchor: "x", properties: { a: { $dynamicRef: "#x" } } }),
    ],
    ["a pattern that explodes", object({ properties: { a: { type: "string", pattern: "(a+)+$" } } })],
    ["a pattern that is none", object({ properties: { a: { type: "string", pattern: "(" } } })],
    [
      "members of the wrong type",
      object({ minProperties: "x", enum: [], properties: { a: { type: "nothing" } } }),
    ],
    [
      "names that every object has",
      object({ properties: { constructor: {}, toString: { type: "string" }, hasOwnProperty: {} } }),
    ],
    ["63 levels", JSON.parse(deep(25))],
  ];

  test.each(schemas)(
    "%s, in what goes in and what comes out: the others stay listed, and it can be called",
    async (_name, schema) => {
      const inputSchema = { ...schema, type: "object" };
      const { older, newer, name, end } = await listed([
        plain,
        { name: "in", inputSchema },
        { name: "out", inputSchema: object(), outputSchema: inputSchema },
      ]);
      for (const names of [older, newer]) expect(names).toEqual(["in", "out", "plain"]);
      bomb.on("tools/call", answer.result({ resultType: "complete", content: [] }));
      // Work that a schema or an argument could make endless would not end within the test's time.
      const called = await stage.alice.call(`${name}-in`, { a: `${"a".repeat(50_000)}!` });
      expect(called.message.result.content).toEqual([]);
      await end();
    },
  );

  test("references to another host are fetched by nobody", async () => {
    const $ref = `${canary.origin}/schema.json`;
    const schema = object({ $id: $ref, properties: { a: { $ref } } });
    const { older, end } = await listed([plain, { name: "out", inputSchema: schema, outputSchema: schema }]);
    expect(older).toEqual(["out", "plain"]);
    await end();
  });

  test("10,000 levels, endless pages and megabytes: the list is refused or cut, the others stay listed", async () => {
    const text = `{"jsonrpc":"2.0","id":ID,"result":{"resultType":"complete","tools":[{"name":"deep","inputSchema":${deep(10_000)}}]}}`;
    const nested = await listed((exchange) =>
      answer.http(200, text.replace("ID", String(exchange.id)), { "content-type": "application/json" })(
        exchange,
      ),
    );
    expect([nested.outcome, nested.older]).toEqual(["refused", []]);
    await nested.end();

    const endless = await listed(answer.result({ ...meta, tools: [plain], nextCursor: "more" }));
    expect(endless.outcome).toBe("listed");
    await endless.end();

    const large = object({ description: "x".repeat(5 * 1024 * 1024) });
    const one = await listed([plain, { name: "large", inputSchema: large }]);
    expect([one.older, one.newer]).toEqual([["plain"], ["plain"]]);
    await one.end();

    const some = object({ description: "x".repeat(200 * 1024) });
    const pages = await listed((exchange) =>
      answer.result({
        ...meta,
        tools: Array.from({ length: 40 }, (_, at) => ({ name: `t${at}`, inputSchema: some })),
        nextCursor: "more",
      })(exchange),
    );
    expect([pages.outcome, pages.older]).toEqual(["refused", []]);
    await pages.end();
  });

  test("ten thousand tools, and two hundred thousand of nothing: cut, the others stay listed", async () => {
    const tools = Array.from({ length: 10_000 }, (_, at) => ({ name: `t${at}`, inputSchema: object() }));
    const many = await listed(tools);
    expect(many.older).toHaveLength(5_000);
    await many.end();
    const nothings = await listed(Array.from({ length: 200_000 }, () => 0));
    expect([nothings.outcome, nothings.older]).toEqual(["listed", []]);
    await nothings.end();
  });
});

describe("MC-25 definitions that no client could read", () => {
  const wrong: Json[] = [
    { inputSchema: object(), description: 5 },
    { inputSchema: object(), title: ["x"] },
    { inputSchema: object(), annotations: "x" },
    { inputSchema: object(), annotations: { readOnlyHint: "yes" } },
    { inputSchema: object(), icons: {} },
    { inputSchema: object(), icons: [{ sizes: 5 }] },
    { inputSchema: object(), _meta: [] },
    { inputSchema: object(), outputSchema: [] },
    { inputSchema: object(), outputSchema: "x" },
    { inputSchema: object(), execution: { taskSupport: "perhaps" } },
    { inputSchema: object({ properties: { a: true, b: false } }) },
    { inputSchema: { properties: {} } },
    {},
  ];
  const hopeless: Json[] = [
    { inputSchema: 5 },
    { inputSchema: { type: "string" } },
    { inputSchema: object({ properties: [] }) },
    { inputSchema: object({ properties: { a: 5 } }) },
    { inputSchema: object({ required: "x" }) },
  ];

  test("a tool loses the member that is wrong, or is left out alone", async () => {
    const tools = [...wrong, ...hopeless].map((tool, at) => ({
      ...tool,
      name: `t${String(at).padStart(2, "0")}`,
    }));
    const { older, newer, end } = await listed([plain, ...tools, { name: 5 }, "x", null]);
    const expected = ["plain", ...tools.slice(0, wrong.length).map(({ name }) => name)];
    expect([older, newer]).toEqual([expected, expected]);
    await end();
  });

  test("so do prompts, resources and templates", async () => {
    const member = [
      { description: 5 },
      { title: {} },
      { icons: "x" },
      { _meta: 1 },
      { annotations: 3 },
      { mimeType: [] },
    ];
    const items = (key: string) => [
      ...member.map((one, at) => ({ name: `n${at}`, [key]: `bomb://${key}/${at}`, ...one })),
      { [key]: `bomb://${key}/unnamed` },
      { name: 7, [key]: `bomb://${key}/seven` },
    ];
    const prompts = [
      ...items("name"),
      { name: "a", arguments: "x" },
      { name: "b", arguments: [{ name: 5 }] },
      {},
    ];
    const { outcome, end } = await listed([plain], {
      "prompts/list": answer.result({ ...meta, prompts }),
      "resources/list": answer.result({
        ...meta,
        resources: [...items("uri"), { name: "x", uri: "bomb://x", size: "big" }],
      }),
      "resources/templates/list": answer.result({ ...meta, resourceTemplates: items("uriTemplate") }),
    });
    expect(outcome).toBe("listed");
    const shown = async (method: string, name: string) =>
      ((await stage.alice.request(method, {})).message.result[name] as Json[]).length;
    expect(await shown("prompts/list", "prompts")).toBe(member.length + 2);
    expect(await shown("resources/list", "resources")).toBe(member.length + 2);
    expect(await shown("resources/templates/list", "resourceTemplates")).toBe(member.length + 1);
    await end();
  });
});

test("MC-23 a template and an address that would make a matcher slow", async () => {
  const uriTemplate = `bomb://${"{a}".repeat(30)}{/id*}${"{+b}".repeat(30)}!`;
  const { end } = await listed([plain], {
    "resources/templates/list": answer.result({
      ...meta,
      resourceTemplates: [{ name: "slow", uriTemplate }],
    }),
  });
  // A matcher that tries every way would not end within the test's time.
  await stage.alice.request("resources/read", { uri: `bomb://${"a,".repeat(20_000)}` }, { era: "legacy" });
  await end();
});
