import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EverythingUpstream, startEverythingUpstream } from "../../test/peers/everything-upstream.ts";
import { type ModernUpstream, startModernUpstream } from "../../test/peers/modern-upstream.ts";
import { type RunningGateway, startGateway } from "../../test/support/gateway.ts";

let modern: ModernUpstream;
let everything: EverythingUpstream;
let gateway: RunningGateway;
let key: string;

beforeAll(async () => {
  [modern, everything] = await Promise.all([startModernUpstream(), startEverythingUpstream()]);
  const outboundAllow = [modern.url, everything.url].map((url) => new URL(url).host);
  gateway = await startGateway({ outboundAllow });
  for (const [name, url] of Object.entries({ modern: modern.url, everything: everything.url })) {
    const body = {
      name,
      connection_type: "http",
      connection_string: url,
      auth_type: "none",
      tools_to_execute: ["*"],
    };
    const made = await gateway.admin<{ mcp_client_id: string }>("POST", "/api/mcp/client", body);
    await gateway.admin("POST", `/api/mcp/client/${made.mcp_client_id}/refresh-tools`);
  }
  const mcp_configs = ["modern", "everything"].map((name) => ({
    mcp_client_name: name,
    tools_to_execute: ["*"],
  }));
  const made = await gateway.admin<{ virtual_key: { value: string } }>(
    "POST",
    "/api/governance/virtual-keys",
    {
      name: "clients",
      mcp_configs,
    },
  );
  key = made.virtual_key.value;
});

afterAll(async () => {
  await gateway.stop();
  await Promise.all([modern.close(), everything.close()]);
});

async function connect(mode: "legacy" | { pin: string }): Promise<Client> {
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode } });
  const transport = new StreamableHTTPClientTransport(new URL(`${gateway.url}/mcp`), {
    requestInit: { headers: { authorization: `Bearer ${key}` } },
  });
  await client.connect(transport);
  return client;
}

describe.each([
  ["2026-07-28", { pin: "2026-07-28" }],
  ["2025-11-25", "legacy"],
] as const)("the official SDK client of %s", (_name, mode) => {
  test("lists and calls tools of upstreams of both eras", async () => {
    const client = await connect(mode);
    const { tools } = await client.listTools();
    const names = tools.map((tool) => tool.name);
    expect(names).toEqual([...names].sort());
    expect(names).toEqual(expect.arrayContaining(["everything-echo", "modern-echo", "modern-whoami"]));
    const echoed = await client.callTool({ name: "modern-echo", arguments: { text: "hi" } });
    expect(echoed).toMatchObject({
      content: [{ type: "text", text: "hi" }],
      structuredContent: { text: "hi", length: 2 },
      _meta: { "example.test/echoed": true },
    });
    const older = await client.callTool({ name: "everything-echo", arguments: { message: "hi" } });
    expect(older.content).toEqual([{ type: "text", text: "Echo: hi" }]);
    const failed = await client.callTool({ name: "modern-fail", arguments: {} });
    expect(failed.isError).toBe(true);
    await client.close();
  });

  test("sees the progress of a call and ends it by going away (MC-26)", async () => {
    const client = await connect(mode);
    const seen: number[] = [];
    const slow = modern.nextSlowCall();
    const leaving = new AbortController();
    const first = Promise.withResolvers<void>();
    const call = client.callTool(
      { name: "modern-slow", arguments: {} },
      {
        signal: leaving.signal,
        onprogress: ({ progress }) => {
          seen.push(progress);
          first.resolve();
        },
      },
    );
    const running = await slow;
    await running.progress(1, 2);
    await first.promise;
    expect(seen).toEqual([1]);
    leaving.abort();
    await expect(call).rejects.toThrow();
    await running.cancelled;
    await client.close();
  });

  test("prompts, resources, templates and completions of an older server", async () => {
    const client = await connect(mode);
    const { prompts } = await client.listPrompts();
    const names = prompts.map(({ name }) => name);
    expect(names).toContain("everything-simple-prompt");
    const got = await client.getPrompt({ name: "everything-simple-prompt" });
    expect(got.messages[0]?.role).toBe("user");
    const { resources } = await client.listResources();
    expect(resources.length).toBeGreaterThan(0);
    const [first] = resources;
    expect((await client.readResource({ uri: first!.uri })).contents[0]?.uri).toBe(first!.uri);
    const { resourceTemplates } = await client.listResourceTemplates();
    const text = resourceTemplates.find(({ uriTemplate }) => uriTemplate.includes("text/"))!;
    const uri = text.uriTemplate.replace(/\{[^}]+\}/, "1");
    expect((await client.readResource({ uri })).contents[0]?.uri).toBe(uri);
    const ref = { type: "ref/prompt", name: "everything-completable-prompt" } as const;
    const completed = await client.complete({ ref, argument: { name: "department", value: "E" } });
    expect(completed.completion.values).toContain("Engineering");
    await client.close();
  });
});
