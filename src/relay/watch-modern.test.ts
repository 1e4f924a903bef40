import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { answer } from "../../test/peers/scripted-upstream.ts";
import { acknowledge, tell } from "../../test/peers/standing-streams.ts";
import { eventually, LISTS, ready, stage, UPDATED } from "./watch.suite.ts";

const SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId";

beforeEach(() => {
  stage.upstream.era = "modern";
});

describe("subscriptions/listen", () => {
  test("asks for what is wanted and hands on that, without the id of the stream", async () => {
    const told = stage.watch({ toolsListChanged: true, resourceSubscriptions: ["a://1"] });
    const stream = await stage.streams.nth(1);
    expect(stream.request.body?.params?.notifications).toEqual({
      toolsListChanged: true,
      resourceSubscriptions: ["a://1"],
    });
    expect(stream.headers["mcp-method"]).toBe("subscriptions/listen");
    tell(stream, LISTS.tools, { "x-unknown": 1 });
    tell(stream, LISTS.prompts);
    tell(stream, UPDATED, { uri: "a://1" });
    tell(stream, UPDATED, { uri: "a://2" });
    tell(stream, UPDATED, { uri: "a://1/part" });
    stream.say({ method: LISTS.tools, params: { _meta: { [SUBSCRIPTION]: "another" } } });
    stream.say({ method: "notifications/message", params: { level: "info", data: "x" } });
    await eventually(() => told.heard.length).toBe(3);
    expect(told.heard).toEqual([
      { method: LISTS.tools, params: { "x-unknown": 1 } },
      { method: UPDATED, params: { uri: "a://1" } },
      { method: UPDATED, params: { uri: "a://1/part" } },
    ]);
    expect(told.lost).toEqual([]);
  });

  test("what comes before the acknowledgement is not heard", async () => {
    stage.upstream.on("subscriptions/listen", stage.streams.handler);
    const told = stage.watch({ toolsListChanged: true, promptsListChanged: true });
    const stream = await stage.streams.nth(1);
    tell(stream, LISTS.prompts);
    acknowledge(stream, { toolsListChanged: true });
    tell(stream, LISTS.tools);
    await eventually(() => told.heard.length).toBe(1);
    expect(told.heard[0]!.method).toBe(LISTS.tools);
  });

  test("another wish is another stream, and the one before ends after it", async () => {
    const told = stage.watch({ toolsListChanged: true });
    const first = await stage.streams.nth(1);
    await eventually(() => stage.streams.open.length).toBe(1);
    tell(first, LISTS.tools);
    await eventually(() => told.heard.length).toBe(1);
    stage.upstream.on("subscriptions/listen", stage.streams.handler);
    told.watching.change({ toolsListChanged: true, resourceSubscriptions: ["a://1"] });
    const second = await stage.streams.nth(2);
    expect(first.isOpen()).toBe(true);
    acknowledge(second, second.request.body?.params?.notifications);
    await eventually(() => first.isOpen()).toBe(false);
    tell(second, UPDATED, { uri: "a://1" });
    await eventually(() => told.heard.length).toBe(2);
    expect([told.lost, told.reopened]).toEqual([[], 0]);
  });

  test("nothing wanted leaves the upstream alone, and it is asked again when something is", async () => {
    const told = stage.watch({});
    told.watching.change({ toolsListChanged: true });
    const stream = await stage.streams.nth(1);
    told.watching.change({});
    await eventually(() => stream.isOpen()).toBe(false);
    expect(stage.streams.all).toHaveLength(1);
    told.watching.change({ promptsListChanged: true });
    expect((await stage.streams.nth(2)).request.body?.params?.notifications).toEqual({
      promptsListChanged: true,
    });
  });

  test("close() ends the stream", async () => {
    const told = stage.watch({ toolsListChanged: true });
    const stream = await stage.streams.nth(1);
    told.watching.close();
    told.watching.close();
    await eventually(() => stream.isOpen()).toBe(false);
    told.watching.change({ promptsListChanged: true });
    expect(stage.streams.all).toHaveLength(1);
  });

  test("an upstream that offers none of it is told nothing more for a while, unless the wish changes", async () => {
    stage.upstream.on("subscriptions/listen", answer.error(-32601, "Method not found", undefined, 404));
    const told = stage.watch({ toolsListChanged: true });
    await eventually(() => told.lost).toEqual(["not_offered"]);
    stage.upstream.on("subscriptions/listen", (exchange) => {
      acknowledge(stage.streams.take(exchange), {});
    });
    told.watching.change({ promptsListChanged: true });
    const stream = await stage.streams.nth(1);
    await eventually(() => stream.isOpen()).toBe(false);
    expect(stage.upstream.calls("subscriptions/listen")).toHaveLength(2);
    expect(told.reopened).toBe(0);
  });
});

describe("what breaks", () => {
  test("a stream that is cut, or ended by the upstream, is opened again, and the watch is told", async () => {
    const told = stage.watch({ toolsListChanged: true });
    const first = await stage.streams.nth(1);
    tell(first, LISTS.tools);
    await eventually(() => told.heard.length).toBe(1);
    first.cut();
    const second = await stage.streams.nth(2);
    await eventually(() => told.reopened).toBe(1);
    expect(told.lost).toEqual(["upstream_unreachable"]);
    second.say({ id: second.id, result: { resultType: "complete", _meta: { [SUBSCRIPTION]: second.id } } });
    await stage.streams.nth(3);
    await eventually(() => told.reopened).toBe(2);
    expect(told.lost).toEqual(["upstream_unreachable"]);
  });

  test.each([
    ["no JSON", "data: {not json\n\n", "upstream_protocol"],
    ["a request", 'data: {"jsonrpc":"2.0","id":1,"method":"ping"}\n\n', "upstream_protocol"],
    ["an answer to something else", 'data: {"jsonrpc":"2.0","id":-1,"result":{}}\n\n', "upstream_protocol"],
    ["one huge event", `data: ${"x".repeat(100 * 1024)}`, "upstream_too_large"],
    [
      "events without end",
      `data: {"jsonrpc":"2.0","method":"${LISTS.tools}"}\n\n`.repeat(11_000),
      "upstream_too_large",
    ],
    ["comments without end", `: ${"x".repeat(1_000)}\n`.repeat(18_000), "upstream_too_large"],
  ])("MC-25 %s ends the stream, and the watch goes on", async (_, bytes, reason) => {
    const told = stage.watch({ toolsListChanged: true });
    const first = await stage.streams.nth(1);
    first.write(bytes);
    await eventually(() => told.lost).toEqual([reason]);
    await eventually(() => first.isOpen()).toBe(false);
    tell(await stage.streams.nth(2), LISTS.tools);
    await eventually(() => told.heard.length).toBeGreaterThan(0);
  });

  test("MC-39 the same change is told at most once a second", async () => {
    const told = stage.watch({ toolsListChanged: true, promptsListChanged: true });
    const stream = await stage.streams.nth(1);
    for (let index = 0; index < 500; index++) tell(stream, LISTS.tools, { index });
    tell(stream, LISTS.prompts);
    await eventually(() => told.heard.at(-1)?.method).toBe(LISTS.prompts);
    expect(told.heard).toHaveLength(2);
    await eventually(() => told.heard.length).toBe(3);
    expect(told.heard[2]).toEqual({ method: LISTS.tools, params: { index: 499 } });
  });

  test("an upstream that cannot be reached is left to the circuit breaker, and calls do not wait", async () => {
    const upstream = stage.target({ url: new URL("http://127.0.0.1:1/mcp") });
    const told = stage.watch({ toolsListChanged: true }, { upstream });
    await eventually(() => told.lost).toEqual(["upstream_unreachable"]);
    await eventually(async () => {
      const { signal } = new AbortController();
      const client = { era: "modern", capabilities: {} } as const;
      return stage.relay.call({ upstream, method: "tools/list", params: {}, client, signal });
    }).toEqual({ outcome: "failed", code: "upstream_unreachable", retryable: true });
    expect(told.lost).toHaveLength(1);
  });
});

test("MC-25 whatever comes, in whatever pieces, the process stands and the next stream is read", async () => {
  const valid = [
    `data: {"jsonrpc":"2.0","method":"${LISTS.tools}"}\n\n`,
    'id: 1\nretry: 5\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n',
    'event: x\r\ndata: [1,{"jsonrpc":"2.0","method":"a","params":{"_meta":1,"uri":{}}}]\r\n\r\n',
    'data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":[]}}\n\n',
  ];
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc.tuple(fc.constantFrom(...valid), fc.nat(200), fc.string({ maxLength: 5 })).map(([text, at, put]) => {
      return Buffer.from(text.slice(0, at) + put + text.slice(at + 1));
    }),
  );
  let id = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(garbage, { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      async (pieces, isOld) => {
        stage.upstream.era = isOld ? "legacy" : "modern";
        id += 1;
        const upstream = stage.target({ id: `up_${id}` });
        const at = stage.streams.all.length + 1;
        const told = stage.watch({ toolsListChanged: true, resourceSubscriptions: ["a://1"] }, { upstream });
        const stream = await stage.streams.nth(at);
        for (const piece of pieces) stream.res.write(piece);
        stream.end();
        const next = await stage.streams.nth(at + 1);
        tell(next, UPDATED, { uri: "a://1" });
        await eventually(() => told.heard.map(({ params }) => params.uri)).toContain("a://1");
        told.watching.close();
      },
    ),
    { numRuns: 30 },
  );
}, 30_000);

describe("whose it is", () => {
  test("ID-21 two owners share no stream, and one owner has one for all that is wanted", async () => {
    const [ann, again, bob] = [
      stage.watch({ toolsListChanged: true }, stage.as("ann")),
      stage.watch({ resourceSubscriptions: ["a://1"] }, stage.as("ann")),
      stage.watch({ toolsListChanged: true }, stage.as("bob")),
    ];
    await eventually(() => stage.streams.open.length).toBe(2);
    const of = (id: string) =>
      stage.streams.open.find(({ headers }) => headers.authorization === `Bearer ${id}-1`)!;
    await eventually(() => of("ann").request.body?.params?.notifications).toEqual({
      toolsListChanged: true,
      resourceSubscriptions: ["a://1"],
    });
    tell(of("ann"), LISTS.tools);
    tell(of("ann"), UPDATED, { uri: "a://1" });
    await eventually(() => again.heard.length).toBe(1);
    expect(ann.heard).toEqual([{ method: LISTS.tools, params: {} }]);
    expect(again.heard).toEqual([{ method: UPDATED, params: { uri: "a://1" } }]);
    expect(bob.heard).toEqual([]);
    ann.watching.close();
    again.watching.close();
    await eventually(() => stage.streams.open.map(({ headers }) => headers.authorization)).toEqual([
      "Bearer bob-1",
    ]);
  });

  test("UP-18 a rejected credential is renewed once, then its person is needed", async () => {
    stage.open = (owner, notGeneration = 0) => ready(owner, notGeneration + 1);
    stage.upstream.requireBearer = { token: "ann-2" };
    const told = stage.watch({ toolsListChanged: true }, stage.as("ann"));
    await stage.streams.nth(1);
    expect(stage.rejected).toEqual([1]);
    const eve = stage.watch({ toolsListChanged: true }, stage.as("eve"));
    await eventually(() => eve.lost).toEqual(["needs_user"]);
    expect(stage.rejected).toEqual([1, 1, 2]);
    expect(told.lost).toEqual([]);
  });

  test("a revoked credential ends the stream, a renewed one opens it anew", async () => {
    let generation = 1;
    stage.open = (owner) => ready(owner, generation);
    const told = stage.watch({ toolsListChanged: true }, stage.as("ann"));
    const first = await stage.streams.nth(1);
    generation = 2;
    const second = await stage.streams.nth(2);
    expect(second.headers.authorization).toBe("Bearer ann-2");
    await eventually(() => first.isOpen()).toBe(false);
    await eventually(() => told.reopened).toBe(1);
    stage.open = () => ({ outcome: "needs_user", reason: "missing" });
    await eventually(() => second.isOpen()).toBe(false);
    await eventually(() => told.lost).toEqual(["needs_user"]);
    expect(stage.streams.open).toEqual([]);
  });

  test("streams that stand take no connection from calls", async () => {
    for (let index = 0; index < 300; index++)
      stage.watch({ toolsListChanged: true }, stage.as(`user ${index}`));
    await eventually(() => stage.streams.open.length).toBe(300);
    const { signal } = new AbortController();
    const client = { era: "modern", capabilities: {} } as const;
    const upstream = stage.target();
    const relayed = await stage.relay.call({ upstream, method: "tools/list", params: {}, client, signal });
    expect(relayed.outcome).toBe("result");
    await stage.relay.close();
    await eventually(() => stage.streams.open.length).toBe(0);
  });

  test("without a credential nothing is sent", async () => {
    stage.open = () => ({ outcome: "needs_user", reason: "orphaned" });
    const told = stage.watch({ toolsListChanged: true }, stage.as("ann"));
    await eventually(() => told.lost).toEqual(["needs_user"]);
    expect(stage.upstream.requests).toEqual([]);
  });
});
