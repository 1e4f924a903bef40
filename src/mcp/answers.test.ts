import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { answer, type ScriptedUpstream, startScriptedUpstream } from "../../test/peers/scripted-upstream.ts";
import { type Bench, echo, type Json, META, openBench } from "./endpoint.suite.ts";

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
