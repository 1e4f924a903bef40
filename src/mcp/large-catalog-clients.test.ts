import { Client as Client2, StreamableHTTPClientTransport as Transport2 } from "@modelcontextprotocol/client";
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as Transport1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AskingUpstream, startAskingUpstream } from "../../test/peers/asking-upstream.ts";
import { type EverythingUpstream, startEverythingUpstream } from "../../test/peers/everything-upstream.ts";
import { type ModernUpstream, startModernUpstream } from "../../test/peers/modern-upstream.ts";
import { type RunningGateway, startGateway } from "../../test/support/gateway.ts";

// The two tools of a large catalogue, as the official clients of both eras use them.

let modern: ModernUpstream;
let everything: EverythingUpstream;
let asking: AskingUpstream;
let gateway: RunningGateway;
let key: string;

beforeAll(async () => {
  [modern, everything, asking] = await Promise.all([
    startModernUpstream(),
    startEverythingUpstream(),
    startAskingUpstream(),
  ]);
  const peers = { modern: modern.url, everything: everything.url, asking: asking.url };
  const outboundAllow = Object.values(peers).map((url) => new URL(url).host);
  gateway = await startGateway({ outboundAllow });
  for (const [name, connection_string] of Object.entries(peers)) {
    const body = { name, connection_string, auth_type: "none", tools_to_execute: ["*"] };
    const made = await gateway.admin<{ mcp_client_id: string }>("POST", "/api/mcp/client", body);
    await gateway.admin("POST", `/api/mcp/client/${made.mcp_client_id}/refresh-tools`);
  }
  const tools = Object.keys(peers).map((name) => ({ mcp_client_name: name }));
  const { virtual_key } = await gateway.admin<{ virtual_key: { id: string; value: string } }>(
    "POST",
    "/api/governance/virtual-keys",
    { name: "clients", mcp_configs: tools },
  );
  key = virtual_key.value;
  const bundle = { slug: "all", name: "All", tools, virtual_key_ids: [virtual_key.id], listing: "search" };
  await gateway.admin("POST", "/api/mcp/virtual-mcps", bundle);
});

afterAll(async () => {
  await gateway.stop();
  await Promise.all([modern.close(), everything.close(), asking.close()]);
});

const place = () => ({
  url: new URL(`${gateway.url}/mcp/all`),
  requestInit: { headers: { authorization: `Bearer ${key}` } },
});

const capabilities = { elicitation: { form: {} } };
const filled = { action: "accept" as const, content: { colour: "blue", name: "Ann" } };

async function sdk2(mode: "legacy" | { pin: string }): Promise<Client2> {
  const client = new Client2({ name: "test", version: "1" }, { capabilities, versionNegotiation: { mode } });
  client.setRequestHandler("elicitation/create", () => filled);
  const { url, requestInit } = place();
  await client.connect(new Transport2(url, { requestInit }));
  return client;
}

async function sdk1(): Promise<Client1> {
  const client = new Client1({ name: "test", version: "1" }, { capabilities });
  client.setRequestHandler(ElicitRequestSchema, () => filled);
  const { url, requestInit } = place();
  await client.connect(new Transport1(url, { requestInit }) as never);
  return client;
}

describe.each([
  ["2026-07-28", () => sdk2({ pin: "2026-07-28" })],
  ["2025-11-25", () => sdk2("legacy")],
  ["the first SDK", sdk1 as unknown as () => Promise<Client2>],
] as const)("%s", (_name, connect) => {
  test("searches, and calls what it found; the clients hold the answer against its schema", async () => {
    const client = await connect();
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(["call_tool", "search_tools"]);
    const searched = await client.callTool({ name: "search_tools", arguments: { query: "echo a message" } });
    const { tools: found } = searched.structuredContent as { tools: { name: string; inputSchema: object }[] };
    const names = found.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["modern-echo", "everything-echo"]));
    const calls = { "modern-echo": { text: "hi" }, "everything-echo": { message: "hi" } };
    for (const [name, args] of Object.entries(calls)) {
      const called = await client.callTool({ name: "call_tool", arguments: { name, arguments: args } });
      expect(called.content, name).toMatchObject([{ type: "text", text: expect.stringContaining("hi") }]);
    }
    const direct = await client.callTool({ name: "modern-echo", arguments: { text: "hi" } });
    expect(direct.structuredContent).toEqual({ text: "hi", length: 2 });
    const missing = await client.callTool({ name: "call_tool", arguments: { name: "modern-none" } });
    expect(missing.isError).toBe(true);
    await client.close();
  });

  test.each([
    ["asking-ask", { what: "form" }, "blue"],
    ["everything-trigger-elicitation-request", {}, "Ann"],
  ])("is asked in the middle of a call of %s, and its answer gets there", async (name, args, answer) => {
    const client = await connect();
    const called = await client.callTool({ name: "call_tool", arguments: { name, arguments: args } });
    expect(JSON.stringify(called.content)).toContain(answer);
    await client.close();
  });

  test("sees the progress of a call and ends it by going away", async () => {
    const client = await connect();
    const slow = modern.nextSlowCall();
    const leaving = new AbortController();
    const first = Promise.withResolvers<number>();
    const call = client.callTool(
      { name: "call_tool", arguments: { name: "modern-slow", arguments: {} } },
      ...(client instanceof Client1 ? [undefined as never] : []),
      { signal: leaving.signal, onprogress: ({ progress }: { progress: number }) => first.resolve(progress) },
    );
    const running = await slow;
    await running.progress(1, 2);
    expect(await first.promise).toBe(1);
    leaving.abort();
    await expect(call).rejects.toThrow();
    await running.cancelled;
    await client.close();
  });
});
