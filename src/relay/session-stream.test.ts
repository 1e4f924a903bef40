import { beforeEach, describe, expect, test } from "vitest";
import { answer, Drip } from "../../test/peers/scripted-upstream.ts";
import type { ClientAnswer, ClientView, RelayCall, UpstreamRequest } from "./index.ts";
import { eventually, stage } from "./watch.suite.ts";

const client: ClientView = { era: "legacy", capabilities: { elicitation: {}, sampling: {}, roots: {} } };

beforeEach(() => {
  stage.upstream.era = "legacy";
});

function call(who: string, more: Partial<RelayCall> = {}) {
  return stage.relay.call({
    upstream: stage.target(),
    caller: who,
    method: "tools/call",
    params: { name: "echo", arguments: { who } },
    client,
    signal: new AbortController().signal,
    onRequest: async ({ method, params }: UpstreamRequest): Promise<ClientAnswer> => ({
      result: { who, method, asked: params?.message ?? null },
    }),
    ...more,
  });
}

/** What we answered to the upstream's own requests. */
const answers = () => stage.upstream.requests.flatMap(({ rpc, body }) => (rpc || !body ? [] : [body]));

test("what is asked on the session's own stream goes to the call under way, which waits for it", async () => {
  const waiting = stage.upstream.arrival("tools/call");
  const gate = Promise.withResolvers<void>();
  stage.upstream.on("tools/call", answer.after(gate.promise, stage.upstream.usually));
  const calling = call("ann");
  const { headers } = await waiting;
  const stream = await stage.streams.nth(1);
  expect(stream.headers["mcp-session-id"]).toBe(headers["mcp-session-id"]);
  // It stood before the call was made: an upstream drops what it asks nobody.
  expect(stage.methods()).toEqual(["initialize", "notifications/initialized", "GET", "tools/call"]);
  stream.say({ id: "q1", method: "elicitation/create", params: { message: "Which?" } });
  stream.say({ id: "q2", method: "sampling/createMessage", params: {} });
  stream.say({ id: "q3", method: "roots/list" });
  stream.say({ id: "p", method: "ping" });
  stream.say({ id: "x", method: "something/else" });
  await eventually(() => answers().length).toBe(5);
  const of = (id: string) => answers().find((one) => one.id === id);
  expect(of("q1")).toMatchObject({ result: { who: "ann", method: "elicitation/create", asked: "Which?" } });
  expect(of("q2")).toMatchObject({ result: { method: "sampling/createMessage" } });
  expect(of("q3")).toMatchObject({ result: { method: "roots/list" } });
  expect(of("p")).toMatchObject({ result: {} });
  expect(of("x")).toMatchObject({ error: { code: -32601 } });
  gate.resolve();
  expect((await calling).outcome).toBe("result");
  stream.say({ id: "late", method: "elicitation/create", params: { message: "Still there?" } });
  await eventually(() => of("late")).toMatchObject({ error: { code: -32601 } });
});

test("with two calls under way it could be either's, so nobody is asked", async () => {
  const gate = Promise.withResolvers<void>();
  stage.upstream.on("tools/call", answer.after(gate.promise, stage.upstream.usually));
  const calls = [call("ann"), call("ann")];
  await eventually(() => stage.upstream.calls("tools/call").length).toBe(2);
  const stream = await stage.streams.nth(1);
  stream.say({ id: "q", method: "elicitation/create", params: { message: "Which?" } });
  await eventually(answers).toMatchObject([{ id: "q", error: { code: -32601 } }]);
  gate.resolve();
  await Promise.all(calls);
});

test("people who share a credential share no session in which they can be asked", async () => {
  await Promise.all([call("ann"), call("bob"), call("ann")]);
  const sessions = (who: string) =>
    new Set(
      stage.upstream
        .calls("tools/call")
        .filter(({ body }) => JSON.stringify(body?.params?.arguments) === JSON.stringify({ who }))
        .map(({ headers }) => headers["mcp-session-id"]),
    );
  expect(sessions("ann").size).toBe(1);
  expect([...sessions("ann")]).not.toEqual([...sessions("bob")]);
});

test("a question that is withdrawn there is withdrawn from the client", async () => {
  const gate = Promise.withResolvers<void>();
  stage.upstream.on("tools/call", answer.after(gate.promise, stage.upstream.usually));
  const asked = Promise.withResolvers<void>();
  const withdrawn = Promise.withResolvers<void>();
  const calling = call("ann", {
    onRequest: ({ signal }) => {
      asked.resolve();
      return new Promise(() => signal.addEventListener("abort", () => withdrawn.resolve()));
    },
  });
  const stream = await stage.streams.nth(1);
  await eventually(() => stage.upstream.calls("tools/call").length).toBe(1);
  stream.say({ id: "q", method: "elicitation/create", params: { message: "Which?" } });
  await asked.promise;
  stream.say({ method: "notifications/cancelled", params: { requestId: "q" } });
  await withdrawn.promise;
  gate.resolve();
  expect((await calling).outcome).toBe("result");
  expect(answers()).toEqual([]);
});

test("progress and log messages that come there reach their call", async () => {
  const gate = Promise.withResolvers<void>();
  stage.upstream.on("tools/call", answer.after(gate.promise, stage.upstream.usually));
  const heard: unknown[] = [];
  const params = { name: "echo", arguments: {}, _meta: { progressToken: "mine" } };
  const calling = call("ann", { params, onNotification: (note) => void heard.push(note) });
  const stream = await stage.streams.nth(1);
  await eventually(() => stage.upstream.calls("tools/call").length).toBe(1);
  const progressToken = stage.upstream.calls("tools/call")[0]!.body?.id;
  stream.say({ method: "notifications/progress", params: { progressToken, progress: 1 } });
  stream.say({ method: "notifications/progress", params: { progressToken: 123_456, progress: 2 } });
  stream.say({ method: "notifications/message", params: { level: "info", data: "x" } });
  await eventually(() => heard.length).toBe(2);
  expect(heard).toEqual([
    { method: "notifications/progress", params: { progressToken: "mine", progress: 1 } },
    { method: "notifications/message", params: { level: "info", data: "x" } },
  ]);
  gate.resolve();
  await calling;
});

describe("what it costs", () => {
  test("a call whose client cannot be asked opens none, and so does the reading of lists", async () => {
    await call("ann", { onRequest: undefined });
    await call("ann", { client: { era: "legacy", capabilities: {} } });
    await stage.relay.listTools(stage.target());
    expect(stage.upstream.calls("GET")).toEqual([]);
  });

  test("one for all calls of a session; an upstream that has none is asked once", async () => {
    await call("ann");
    await call("ann");
    expect(stage.upstream.calls("GET")).toHaveLength(1);
    stage.upstream.on("GET", answer.http(405));
    await call("bob");
    await call("bob");
    expect(stage.upstream.calls("GET")).toHaveLength(2);
  });

  test("one that the upstream does not answer ends no call, and is asked for once", async () => {
    stage.upstream.on("GET", answer.silence());
    expect((await call("ann")).outcome).toBe("result");
    expect((await call("ann")).outcome).toBe("result");
    expect(stage.upstream.calls("GET")).toHaveLength(1);
  });

  test("one that breaks in mid-call is opened again while the call goes on", async () => {
    const gate = Promise.withResolvers<void>();
    stage.upstream.on("tools/call", answer.after(gate.promise, stage.upstream.usually));
    const calling = call("ann");
    const first = await stage.streams.nth(1);
    first.write("id: e1\ndata: \n\n");
    await eventually(() => stage.upstream.calls("tools/call").length).toBe(1);
    first.cut();
    const second = await stage.streams.nth(2);
    expect(second.headers["last-event-id"]).toBe("e1");
    second.say({ id: "q", method: "roots/list" });
    await eventually(answers).toMatchObject([{ id: "q", result: { who: "ann" } }]);
    gate.resolve();
    await calling;
  });

  test("MC-25 endless, huge and unreadable events end the stream and not the call", async () => {
    for (const bytes of [
      "data: {not json\n\n",
      `data: ${"x".repeat(5 * 1024 * 1024)}`,
      'data: {"jsonrpc":"2.0","method":"notifications/message"}\n\n'.repeat(11_000),
      'data: {"jsonrpc":"2.0","id":1,"method":"ping"}\n\n'.repeat(100),
    ]) {
      const gate = Promise.withResolvers<void>();
      stage.upstream.on("tools/call", answer.after(gate.promise, stage.upstream.usually));
      const before = stage.streams.all.length;
      const calling = call(`caller ${before}`);
      const stream = await stage.streams.nth(before + 1);
      stream.write(bytes);
      await eventually(() => stream.isOpen()).toBe(false);
      gate.resolve();
      expect((await calling).outcome).toBe("result");
    }
  });

  test("closing the relay ends it", async () => {
    await call("ann");
    expect(stage.streams.open).toHaveLength(1);
    await stage.relay.close();
    await eventually(() => stage.streams.open).toEqual([]);
  });
});

describe("an answer whose stream ends before it (SEP-1699)", () => {
  /** Begins the answer of a call; the test writes it. */
  function dripping(): Drip {
    const drip = new Drip();
    stage.upstream.next(answer.drip(drip), "tools/call");
    return drip;
  }
  const message = (id: unknown, text: string) =>
    `id: last\ndata: ${JSON.stringify({ jsonrpc: "2.0", id, result: { content: [{ type: "text", text }] } })}\n\n`;
  const plain = () => call("ann", { onRequest: undefined });
  const sent = async () => (await stage.upstream.arrival("tools/call")).body?.id;

  test("is taken up with GET and Last-Event-ID, after `retry`, as often as it takes", async () => {
    const arrived = sent();
    const drip = dripping();
    const calling = plain();
    const id = await arrived;
    drip.push("id: e1\nretry: 80\ndata: \n\n");
    const ended = performance.now();
    drip.end();
    const first = await stage.streams.nth(1);
    expect(performance.now() - ended).toBeGreaterThan(75);
    expect(first.headers).toMatchObject({ accept: "text/event-stream", "last-event-id": "e1" });
    expect(first.headers["mcp-session-id"]).toBe(
      stage.upstream.calls("tools/call")[0]!.headers["mcp-session-id"],
    );
    first.write("id: e2\ndata: \n\n");
    first.end();
    const second = await stage.streams.nth(2);
    expect(second.headers["last-event-id"]).toBe("e2");
    // A server with one store for all streams sends others' answers along.
    second.write(message(Number(id) + 1_000, "another's"));
    second.write(message(id, "done"));
    expect(await calling).toMatchObject({ outcome: "result", result: { content: [{ text: "done" }] } });
    // AV-16: the call itself was made once.
    expect(stage.upstream.calls("tools/call")).toHaveLength(1);
  });

  test("also when the connection breaks, with what comes before the answer", async () => {
    const arrived = sent();
    stage.upstream.next(stage.streams.handler, "tools/call");
    const heard: unknown[] = [];
    const calling = call("ann", { onRequest: undefined, onNotification: (note) => void heard.push(note) });
    const id = await arrived;
    const first = await stage.streams.nth(1);
    first.write("id: e1\nretry: 1\ndata: \n\n");
    first.say({ method: "notifications/message", params: { level: "info", data: 1 } }, "id: e2");
    await eventually(() => heard.length).toBe(1);
    first.cut();
    const second = await stage.streams.nth(2);
    expect(second.headers["last-event-id"]).toBe("e2");
    second.say({ method: "notifications/message", params: { level: "info", data: 2 } }, "id: e3");
    second.write(message(id, "done"));
    expect((await calling).outcome).toBe("result");
    expect(heard).toHaveLength(2);
  });

  test("without an id there is nothing to take up", async () => {
    const drip = dripping();
    const calling = plain();
    drip.push(": nothing\n\n");
    drip.end();
    expect(await calling).toEqual({ outcome: "failed", code: "upstream_protocol", retryable: false });
    expect(stage.upstream.calls("GET")).toEqual([]);
  });

  test("an id that is no header value is none, and one of an event that was cut in two neither", async () => {
    for (const bytes of ["id: grün\ndata: \n\n", `id: ${"x".repeat(2_000)}\ndata: \n\n`, "id: e1\ndata: "]) {
      const drip = dripping();
      const calling = plain();
      drip.push(bytes);
      drip.end();
      expect(await calling).toMatchObject({ outcome: "failed", code: "upstream_protocol" });
    }
    expect(stage.upstream.calls("GET")).toEqual([]);
  });

  test("an upstream that does not know it any more ends the call", async () => {
    stage.upstream.on("GET", answer.http(404));
    const drip = dripping();
    const calling = plain();
    drip.push("id: e1\nretry: 1\ndata: \n\n");
    drip.end();
    expect(await calling).toMatchObject({ outcome: "failed", code: "upstream_protocol" });
    expect(stage.upstream.calls("GET")).toHaveLength(1);
  });

  test("it is tried a few times, and no longer than the call may take", async () => {
    stage.upstream.on("GET", answer.http(503));
    const drip = dripping();
    const calling = plain();
    drip.push("id: e1\nretry: 1\ndata: \n\n");
    drip.end();
    expect(await calling).toMatchObject({ outcome: "failed", code: "upstream_unreachable" });
    expect(stage.upstream.calls("GET")).toHaveLength(3);
    const slow = dripping();
    const brief = call("ann", { onRequest: undefined, upstream: stage.target({ timeoutMs: 200 }) });
    slow.push("id: e1\nretry: 60000\ndata: \n\n");
    slow.end();
    expect(await brief).toMatchObject({ outcome: "failed", code: "upstream_timeout" });
  });

  test("a client that leaves meanwhile ends it, and the upstream is told", async () => {
    const leaving = new AbortController();
    const drip = dripping();
    const calling = call("ann", { onRequest: undefined, signal: leaving.signal });
    drip.push("id: e1\nretry: 1\ndata: \n\n");
    drip.end();
    const stream = await stage.streams.nth(1);
    leaving.abort();
    expect(await calling).toMatchObject({ code: "cancelled" });
    await eventually(() => stream.isOpen()).toBe(false);
    await eventually(() => stage.methods().at(-1)).toBe("notifications/cancelled");
  });
});
