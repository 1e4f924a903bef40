import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { request } from "undici";
import { afterEach, describe, expect, test } from "vitest";
import { answer, Drip, type ScriptedUpstream, startScriptedUpstream } from "./scripted-upstream.ts";

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

async function connected(upstream: ScriptedUpstream, headers: Record<string, string> = {}): Promise<Client> {
  const client = new Client(
    { name: "test", version: "1" },
    { versionNegotiation: { mode: upstream.era === "modern" ? { pin: "2026-07-28" } : "legacy" } },
  );
  open.push(client);
  await client.connect(
    new StreamableHTTPClientTransport(new URL(upstream.url), { requestInit: { headers } }),
  );
  return client;
}

async function started(options: Parameters<typeof startScriptedUpstream>[0] = {}): Promise<ScriptedUpstream> {
  const upstream = await startScriptedUpstream(options);
  open.push(upstream);
  return upstream;
}

async function post(upstream: ScriptedUpstream, body: unknown): Promise<Awaited<ReturnType<typeof request>>> {
  return request(upstream.url, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json" },
  });
}

describe("scripted upstream", () => {
  test.each(["modern", "legacy"] as const)("the %s era serves the official client", async (era) => {
    const upstream = await started({ era, requireHeader: { name: "X-Key", value: "k1" } });
    const client = await connected(upstream, { "X-Key": "k1" });
    expect((await client.listTools()).tools.map((t) => t.name)).toEqual(["echo"]);
    const result = await client.callTool({ name: "echo", arguments: { a: 1 } });
    expect(result.content).toEqual([{ type: "text", text: '{"a":1}' }]);
    expect(upstream.calls("tools/call")[0]?.headers["x-key"]).toBe("k1");
    await expect(connected(upstream)).rejects.toThrow();
  });

  test("an unknown session is 404, a missing one 400, and DELETE ends one", async () => {
    const upstream = await started({ era: "legacy" });
    await connected(upstream);
    const [session = ""] = upstream.sessions;
    const list = { jsonrpc: "2.0", id: 1, method: "tools/list" };
    const send = async (headers: Record<string, string>, method: "POST" | "DELETE" = "POST") => {
      const body = method === "POST" ? JSON.stringify(list) : null;
      const answered = await request(upstream.url, { method, body, headers });
      await answered.body.dump();
      return answered.statusCode;
    };
    const own = { "mcp-session-id": session };
    expect(await send(own)).toBe(200);
    expect(await send({})).toBe(400);
    expect(await send(own, "DELETE")).toBe(200);
    expect(upstream.calls("DELETE")).toHaveLength(1);
    expect(await send(own)).toBe(404);
  });

  test("queued answers come first, by method where named", async () => {
    const upstream = await started({ era: "modern" });
    const client = await connected(upstream);
    upstream.next(
      answer.sse(
        { method: "notifications/message", params: { level: "info", data: "hello" } },
        { result: { resultType: "complete", content: [{ type: "text", text: "scripted" }] } },
      ),
      "tools/call",
    );
    expect((await client.listTools()).tools).toHaveLength(1);
    expect((await client.callTool({ name: "echo" })).content).toEqual([{ type: "text", text: "scripted" }]);
    expect((await client.callTool({ name: "echo" })).content).toEqual([{ type: "text", text: "{}" }]);
    upstream.next(answer.error(-32000, "no", { why: "because" }), "tools/call");
    await expect(client.callTool({ name: "echo" })).rejects.toMatchObject({ code: -32000 });
  });

  test("challenges, resets, huge and dripped bodies, held answers", async () => {
    const upstream = await started({ requireBearer: { token: "t", challenge: 'Bearer scope="x"' } });
    const refused = await post(upstream, { jsonrpc: "2.0", id: 1, method: "tools/list" });
    expect([refused.statusCode, refused.headers["www-authenticate"]]).toEqual([401, 'Bearer scope="x"']);
    await refused.body.dump();

    upstream.next(answer.reset());
    await expect(post(upstream, {})).rejects.toThrow();

    upstream.next(answer.resetAfter({ method: "notifications/message", params: {} }));
    await expect(post(upstream, {}).then((r) => r.body.text())).rejects.toThrow();

    upstream.next(answer.huge(1_000_000));
    const huge = (await (await post(upstream, { id: 7 })).body.json()) as { id: number };
    expect(huge.id).toBe(7);

    const drip = new Drip();
    upstream.next(answer.drip(drip));
    const dripping = await post(upstream, {});
    drip.push("data: 1\n\n");
    drip.push("data: 2\n\n");
    drip.end();
    expect(await dripping.body.text()).toBe("data: 1\n\ndata: 2\n\n");

    const gate = Promise.withResolvers<void>();
    upstream.next(answer.after(gate.promise, answer.http(418, "teapot")));
    const arrived = upstream.arrival();
    const waiting = post(upstream, { method: "x" });
    expect((await arrived).rpc).toBe("x");
    gate.resolve();
    expect((await waiting).statusCode).toBe(418);
    expect(upstream.requests.at(-1)?.rawHeaders).toContain("content-type");
  });
});
