import { describe, expect, test } from "vitest";
import { answer, Drip } from "../../test/peers/scripted-upstream.ts";
import type { JsonObject } from "../base/index.ts";
import type { Notification } from "./index.ts";
import { stage } from "./relay.suite.ts";

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
    stage.upstream.next(handler as ReturnType<typeof answer.http>, "tools/call");
    expect(await stage.call()).toEqual(bad);
    expect((await stage.call()).outcome).toBe("result");
  });

  test("errors of the upstream pass, with any status", async () => {
    stage.upstream.next(answer.error(-32602, "Unknown tool", { a: 1 }));
    expect(await stage.call()).toEqual({
      outcome: "error",
      error: { code: -32602, message: "Unknown tool", data: { a: 1 } },
    });
    stage.upstream.next(answer.error(-32021, "Missing", { requiredCapabilities: {} }, 400));
    expect(await stage.call()).toMatchObject({ outcome: "error", error: { code: -32021 } });
  });

  test("unknown content, big numbers and `_meta` come through as they were", async () => {
    const text =
      '{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"hologram"}],"n":12345678901234567890,"_meta":{"a":{}}}}';
    stage.upstream.next(answer.http(200, text, { "content-type": "application/json" }));
    const relayed = await stage.call();
    expect(JSON.stringify(relayed)).toContain('"n":12345678901234567890,"_meta":{"a":{}}');
  });

  test("MC-16 progress comes back under the client's own token, foreign progress nowhere", async () => {
    stage.upstream.on("tools/call", (exchange) =>
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
    const relayed = await stage.call({
      params,
      onNotification: (notification) => void got.push(notification),
    });
    expect(relayed).toEqual({ outcome: "result", result: complete });
    expect(got).toEqual([
      { method: "notifications/progress", params: { progressToken: "p1", progress: 1 } },
      { method: "notifications/message", params: { level: "info", data: "x" } },
    ]);
  });

  test("an older upstream's own requests are refused, its ping answered, and the call goes on", async () => {
    stage.upstream.era = "legacy";
    const pong = stage.upstream.arrival("POST");
    stage.upstream.next(answer.sse({ id: "s1", method: "ping" }, { result: { content: [] } }), "tools/call");
    expect((await stage.call()).outcome).toBe("result");
    expect((await pong).body).toMatchObject({ id: "s1", result: {} });
    const refusal = stage.upstream.arrival("POST");
    stage.upstream.next(
      answer.sse({ id: "s2", method: "sampling/createMessage" }, { result: { content: [] } }),
      "tools/call",
    );
    expect((await stage.call()).outcome).toBe("result");
    expect((await refusal).body).toMatchObject({ id: "s2", error: { code: -32601 } });
  });

  test("MC-26 more than 16 MiB is refused without being read", async () => {
    stage.upstream.next(answer.huge(64 * 1024 * 1024));
    expect(await stage.call()).toEqual({ outcome: "failed", code: "upstream_too_large", retryable: false });
  });

  test("MC-26 an endless line on a stream is refused", async () => {
    const drip = new Drip();
    const piece = "x".repeat(1024 * 1024);
    for (let at = 0; at < 20; at++) drip.push(at === 0 ? `data: ${piece}` : piece);
    stage.upstream.next(answer.drip(drip));
    expect(await stage.call()).toMatchObject({ code: "upstream_too_large" });
    drip.end();
  });

  test("MC-26 silence ends with the upstream's timeout, an older one is told", async () => {
    stage.upstream.era = "legacy";
    await stage.call();
    stage.upstream.next(answer.silence(), "tools/call");
    const told = stage.upstream.arrival("notifications/cancelled");
    const relayed = await stage.call({ upstream: stage.target({ era: "legacy", timeoutMs: 100 }) });
    expect(relayed).toEqual({ outcome: "failed", code: "upstream_timeout", retryable: false });
    expect((await told).body?.params?.requestId).toBe(stage.upstream.calls("tools/call").at(-1)?.body?.id);
  });

  test("MC-26 progress keeps a call alive, but not for ever", async () => {
    stage.upstream.next(async ({ res, id }) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      const note = { jsonrpc: "2.0", method: "notifications/progress", params: { progressToken: id } };
      const timer = setInterval(() => res.write(`data: ${JSON.stringify(note)}\n\n`), 10);
      res.on("close", () => clearInterval(timer));
    });
    const relayed = await stage.call({ upstream: stage.target({ era: "modern", timeoutMs: 60 }) });
    expect(relayed).toMatchObject({ code: "upstream_timeout" });
  });

  test("MC-26 the client going away aborts the upstream request", async () => {
    const leaving = new AbortController();
    const gone = new Promise<void>((resolve) => {
      stage.upstream.next(({ res }) => {
        res.on("close", resolve);
        leaving.abort();
      });
    });
    expect(await stage.call({ signal: leaving.signal })).toMatchObject({ code: "cancelled" });
    await gone;
  });

  test("a client that does not read holds the upstream back until patience ends", async () => {
    stage.upstream.next(answer.sse({ method: "notifications/message", params: {} }, { result: complete }));
    const onNotification = () => new Promise<void>(() => {});
    const relayed = await stage.call({
      upstream: stage.target({ era: "modern", timeoutMs: 60 }),
      onNotification,
    });
    expect(relayed).toMatchObject({ code: "upstream_timeout" });
  });

  test.each([
    // Allowed, and nothing listens there.
    ["an upstream that is not there", "http://127.0.0.1:1/mcp", "upstream_unreachable", true],
    ["an address that is not allowed", "http://169.254.169.254/", "upstream_address_refused", false],
  ] as const)("%s fails in words of its own", async (_name, url, code, retryable) => {
    const relayed = await stage.call({ upstream: stage.target({ era: "modern", url: new URL(url) }) });
    expect(relayed).toEqual({ outcome: "failed", code, retryable });
  });

  test("a cut connection is not repeated: the call may have had effects (AV-16)", async () => {
    stage.upstream.next(answer.reset(), "tools/call");
    expect(await stage.call()).toMatchObject({ code: "upstream_unreachable", retryable: false });
    stage.upstream.next(answer.resetAfter({ method: "notifications/message", params: {} }), "tools/call");
    expect(await stage.call()).toMatchObject({ outcome: "failed", retryable: false });
    expect(stage.upstream.calls("tools/call")).toHaveLength(2);
  });
});

function many(count: number): JsonObject {
  return Object.fromEntries(
    Array.from({ length: count }, (_, at) => [`r${at}`, { method: "elicitation/create", params: {} }]),
  );
}
