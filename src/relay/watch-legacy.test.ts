import { beforeEach, describe, expect, test } from "vitest";
import { answer } from "../../test/peers/scripted-upstream.ts";
import { eventually, LISTS, ready, stage, UPDATED } from "./watch.suite.ts";

beforeEach(() => {
  stage.upstream.era = "legacy";
});

const subscribed = () =>
  stage.upstream.requests
    .filter(({ rpc }) => rpc?.startsWith("resources/"))
    .map(({ rpc, body }) => `${rpc?.slice("resources/".length)} ${body?.params?.uri}`);

describe("the session of a watch", () => {
  test("is its own: initialize, the GET stream, subscriptions, and DELETE at the end", async () => {
    const told = stage.watch({ toolsListChanged: true, resourceSubscriptions: ["a://1", "a://2"] });
    const stream = await stage.streams.nth(1);
    expect(stream.headers).toMatchObject({
      accept: "text/event-stream",
      "mcp-protocol-version": "2025-11-25",
    });
    expect(stream.headers["content-type"]).toBeUndefined();
    await eventually(subscribed).toEqual(["subscribe a://1", "subscribe a://2"]);
    stream.say({ method: LISTS.tools });
    stream.say({ method: LISTS.prompts });
    stream.say({ method: UPDATED, params: { uri: "a://2", "x-unknown": [1] } });
    stream.say({ method: UPDATED, params: { uri: "b://2" } });
    stream.say({ id: 9, result: {} });
    await eventually(() => told.heard.length).toBe(2);
    expect(told.heard).toEqual([
      { method: LISTS.tools, params: {} },
      { method: UPDATED, params: { uri: "a://2", "x-unknown": [1] } },
    ]);
    told.watching.close();
    await eventually(() => stream.isOpen()).toBe(false);
    await eventually(() => stage.upstream.sessions.size).toBe(0);
    expect(stage.upstream.calls("DELETE")[0]!.headers["mcp-session-id"]).toBe(
      stream.headers["mcp-session-id"],
    );
  });

  test("follows a changed wish in place", async () => {
    const told = stage.watch({ resourceSubscriptions: ["a://1", "a://2"] });
    const stream = await stage.streams.nth(1);
    await eventually(subscribed).toHaveLength(2);
    told.watching.change({ resourceSubscriptions: ["a://2", "a://3"] });
    await eventually(() => subscribed().slice(2)).toEqual(["unsubscribe a://1", "subscribe a://3"]);
    stream.say({ method: UPDATED, params: { uri: "a://1" } });
    stream.say({ method: UPDATED, params: { uri: "a://3" } });
    await eventually(() => told.heard.map(({ params }) => params.uri)).toEqual(["a://3"]);
    expect(stage.streams.all).toHaveLength(1);
  });

  test("asks for nothing that the upstream does not declare", async () => {
    stage.upstream.capabilities = { tools: {}, resources: { subscribe: true } };
    const told = stage.watch({ toolsListChanged: true });
    await eventually(() => told.lost).toEqual(["not_offered"]);
    expect(stage.upstream.calls("GET")).toEqual([]);
    await eventually(() => stage.upstream.sessions.size).toBe(0);
    told.watching.change({ toolsListChanged: true, resourceSubscriptions: ["a://1"] });
    await eventually(subscribed).toEqual(["subscribe a://1"]);
    await eventually(() => told.reopened).toBe(1);
  });

  test("an upstream without a GET stream is still subscribed to", async () => {
    stage.upstream.on("GET", answer.http(405));
    const told = stage.watch({ resourceSubscriptions: ["a://1"] });
    await eventually(subscribed).toEqual(["subscribe a://1"]);
    told.watching.change({ resourceSubscriptions: ["a://2"] });
    await eventually(subscribed).toHaveLength(3);
    expect([told.lost, stage.upstream.calls("GET").length]).toEqual([[], 1]);
  });

  test("a refused subscription takes nothing with it", async () => {
    stage.upstream.next(answer.error(-32002, "No such resource"), "resources/subscribe");
    const told = stage.watch({ resourceSubscriptions: ["a://1", "a://2"] });
    const stream = await stage.streams.nth(1);
    await eventually(subscribed).toHaveLength(2);
    stream.say({ method: UPDATED, params: { uri: "a://2" } });
    await eventually(() => told.heard.length).toBe(1);
  });

  test("`ping` is answered on it, everything else that is asked is refused", async () => {
    stage.watch({ toolsListChanged: true });
    const stream = await stage.streams.nth(1);
    stream.say({ id: "p", method: "ping" });
    stream.say({ id: "r", method: "roots/list" });
    const answers = () => stage.upstream.requests.flatMap(({ rpc, body }) => (rpc || !body ? [] : [body]));
    await eventually(() => answers().length).toBe(2);
    const sorted = answers().sort((a, b) => String(a.id).localeCompare(String(b.id)));
    expect(sorted).toMatchObject([
      { id: "p", result: {} },
      { id: "r", error: { code: -32601 } },
    ]);
  });
});

describe("what breaks", () => {
  test("a stream that ends is taken up again in its session, after `retry`, from its last event", async () => {
    const told = stage.watch({ toolsListChanged: true });
    const first = await stage.streams.nth(1);
    first.write("id: e1\nretry: 60\ndata: \n\n");
    first.say({ method: LISTS.tools }, "id: e2");
    await eventually(() => told.heard.length).toBe(1);
    const ended = performance.now();
    first.end();
    const second = await stage.streams.nth(2);
    expect(performance.now() - ended).toBeGreaterThan(55);
    expect(second.headers["last-event-id"]).toBe("e2");
    expect(second.headers["mcp-session-id"]).toBe(first.headers["mcp-session-id"]);
    expect(stage.upstream.calls("initialize")).toHaveLength(1);
    expect(told.lost).toEqual([]);
  });

  test("a session that vanished is opened anew, with its subscriptions", async () => {
    const told = stage.watch({ toolsListChanged: true, resourceSubscriptions: ["a://1"] });
    const first = await stage.streams.nth(1);
    first.write("id: e1\ndata: \n\n");
    await eventually(subscribed).toHaveLength(1);
    stage.upstream.on("GET", (exchange) => {
      const known = stage.upstream.sessions.has(String(exchange.request.headers["mcp-session-id"]));
      return known ? stage.streams.handler(exchange) : answer.http(404)(exchange);
    });
    stage.upstream.sessions.clear();
    first.cut();
    const second = await stage.streams.nth(2);
    expect(second.headers["last-event-id"]).toBeUndefined();
    expect(stage.upstream.calls("initialize")).toHaveLength(2);
    await eventually(() => subscribed().length).toBe(2);
    await eventually(() => told.reopened).toBe(1);
  });

  test("a session that vanished is noticed when something is subscribed to", async () => {
    stage.upstream.on("GET", answer.http(405));
    stage.upstream.on("resources/subscribe", (exchange) => {
      const known = stage.upstream.sessions.has(String(exchange.request.headers["mcp-session-id"]));
      return (known ? answer.result({}) : answer.http(404))(exchange);
    });
    const told = stage.watch({ resourceSubscriptions: ["a://1"] });
    await eventually(subscribed).toHaveLength(1);
    stage.upstream.sessions.clear();
    told.watching.change({ resourceSubscriptions: ["a://1", "a://2"] });
    await eventually(subscribed).toEqual([
      "subscribe a://1",
      "subscribe a://2",
      "subscribe a://1",
      "subscribe a://2",
    ]);
    await eventually(() => told.reopened).toBe(1);
  });

  test("MC-25 a stream that cannot be read or has no end is left, and the watch goes on", async () => {
    const told = stage.watch({ toolsListChanged: true });
    (await stage.streams.nth(1)).write("data: {not json\n\n");
    (await stage.streams.nth(2)).write(`data: ${"x".repeat(100 * 1024)}`);
    (await stage.streams.nth(3)).say({ method: LISTS.tools });
    await eventually(() => told.heard.length).toBe(1);
    expect(told.lost).toEqual(["upstream_protocol", "upstream_too_large"]);
    expect(stage.streams.open).toHaveLength(1);
  });

  test("requests without end end the stream", async () => {
    const told = stage.watch({ toolsListChanged: true });
    const stream = await stage.streams.nth(1);
    for (let id = 0; id < 61; id++) stream.say({ id, method: "ping" });
    await eventually(() => told.lost).toEqual(["upstream_too_large"]);
  });

  test("an upstream that became a newer one is found again", async () => {
    const told = stage.watch({ toolsListChanged: true });
    const first = await stage.streams.nth(1);
    stage.upstream.era = "modern";
    stage.upstream.on("GET", answer.http(405));
    first.cut();
    const second = await stage.streams.nth(2);
    expect(second.headers["mcp-method"]).toBe("subscriptions/listen");
    await eventually(() => told.reopened).toBe(1);
  });
});

describe("whose it is", () => {
  test("ID-21 two owners share no session", async () => {
    stage.watch({ toolsListChanged: true }, stage.as("ann"));
    stage.watch({ toolsListChanged: true }, stage.as("bob"));
    const [one, other] = [await stage.streams.nth(1), await stage.streams.nth(2)];
    expect(one.headers["mcp-session-id"]).not.toBe(other.headers["mcp-session-id"]);
    expect([one, other].map(({ headers }) => headers.authorization).sort()).toEqual([
      "Bearer ann-1",
      "Bearer bob-1",
    ]);
  });

  test("a 401 on the stream renews the credential once", async () => {
    stage.open = (owner, notGeneration = 0) => ready(owner, notGeneration + 1);
    const told = stage.watch({ toolsListChanged: true }, stage.as("ann"));
    const first = await stage.streams.nth(1);
    first.write("id: e1\ndata: \n\n");
    stage.upstream.next(answer.unauthorized(), "GET");
    stage.open = (owner, notGeneration = 0) =>
      ready(owner, Math.max(notGeneration + 1, stage.rejected.length + 1));
    first.cut();
    const second = await stage.streams.nth(2);
    expect(second.headers.authorization).toBe("Bearer ann-2");
    expect(stage.rejected).toEqual([1]);
    await eventually(() => told.reopened).toBe(1);
  });

  test("a revoked credential ends stream and session", async () => {
    const told = stage.watch({ toolsListChanged: true }, stage.as("ann"));
    const stream = await stage.streams.nth(1);
    stage.open = () => ({ outcome: "needs_user", reason: "missing" });
    await eventually(() => stream.isOpen()).toBe(false);
    await eventually(() => told.lost).toEqual(["needs_user"]);
    await eventually(() => stage.upstream.sessions.size).toBe(0);
  });

  test("closing the relay ends everything", async () => {
    stage.watch({ toolsListChanged: true }, stage.as("ann"));
    stage.watch({ resourceSubscriptions: ["a://1"] }, stage.as("bob"));
    await stage.streams.nth(2);
    await stage.relay.close();
    await eventually(() => stage.streams.open).toEqual([]);
  });
});
