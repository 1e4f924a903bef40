import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "../../test/journeys/steps/eventually.ts";
import { TellingUpstream } from "../../test/peers/telling-upstream.ts";
import { type Bench, echo, type Json, json, META, openBench } from "./endpoint.suite.ts";
import { Listener } from "./listener.ts";
import { ask, changed, listening, store, told, untagged, updated } from "./pushes.suite.ts";

const FILE = "file:///readme.md";
const lists = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };

let peer: TellingUpstream;
let bench: Bench;
let upstreamId: string;
let key: { id: string; value: string };

beforeEach(async () => {
  peer = await TellingUpstream.start("modern", [echo]);
  bench = await openBench(peer.peer);
  upstreamId = (await told(bench, peer)).id;
  key = await bench.key("k", [{ upstreamId, tools: ["*"] }]);
});

afterEach(async () => {
  await bench.close();
  await peer.close();
});

describe("subscriptions/listen", () => {
  test("2026-07-28 acknowledges first what it honours, and tags everything with the request's id", async () => {
    const asked = {
      ...lists,
      promptsListChanged: false,
      resourceSubscriptions: [FILE, "postern://nobody/x"],
    };
    const { events, honoured } = await listening(bench, key.value, asked);
    expect(honoured).toEqual({
      toolsListChanged: true,
      resourcesListChanged: true,
      resourceSubscriptions: [FILE],
    });
    await eventually("the upstream is listened to", () => peer.isFollowed(FILE));
    peer.updated(FILE);
    expect(untagged(await events.next())).toEqual(updated(FILE));
    peer.resources = [];
    peer.peer.tools = [echo, { name: "more" }];
    peer.prompts = [];
    await store(bench, upstreamId, peer);
    expect(untagged(await events.next())).toEqual(changed("tools"));
    expect(untagged(await events.next())).toEqual(changed("resources"));
    // The prompts changed too, and were not asked for.
    bench.streams.send(() => true, { method: "notifications/barrier" });
    expect((await events.next()).method).toBe("notifications/barrier");
  });

  test("numbers as ids stay numbers", async () => {
    const response = await ask(bench, key.value, lists, { id: 0 });
    const reader = response.body!.getReader();
    const first = new TextDecoder().decode((await reader.read()).value);
    expect(first).toMatch(/^event: message\ndata: \{.*\}\n\n$/);
    expect(first).not.toContain("id: ");
    expect(JSON.parse(first.split("data: ")[1]!).params._meta[`${META}subscriptionId`]).toBe(0);
    await reader.cancel();
  });

  test.each([
    ["no filter", undefined],
    ["a list", [true]],
    ["a flag that is none", { toolsListChanged: "yes" }],
    ["URIs that are none", { resourceSubscriptions: [1] }],
    ["a URI alone", { resourceSubscriptions: FILE }],
  ])("-32602 for %s", async (_, notifications) => {
    const response = await ask(bench, key.value, notifications);
    expect(response.status).toBe(400);
    expect(await json(response)).toMatchObject({ id: "sub-1", error: { code: -32602 } });
  });

  test("ends at once with its result where nothing is honoured", async () => {
    const none = await bench.key("none", []);
    const response = await ask(bench, none.value, {
      promptsListChanged: true,
      resourceSubscriptions: [FILE],
    });
    const [acknowledged, result, ...more] = (await response.text())
      .split("\n\n")
      .filter((event) => event !== "")
      .map((event) => JSON.parse(event.split("data: ")[1]!));
    expect(acknowledged.params.notifications).toEqual({});
    expect(result).toEqual({
      jsonrpc: "2.0",
      id: "sub-1",
      result: {
        resultType: "complete",
        _meta: { [`${META}subscriptionId`]: "sub-1", [`${META}serverInfo`]: expect.anything() },
      },
    });
    expect(more).toEqual([]);
    expect(bench.streams.size).toBe(0);
  });

  test("is for clients that read event streams", async () => {
    const response = await ask(bench, key.value, lists, { headers: { accept: "application/json" } });
    expect(response.status).toBe(406);
  });

  test("server/discover says so", async () => {
    const { body } = await bench.modern(key.value, "server/discover");
    expect(body.result.capabilities).toMatchObject({
      tools: { listChanged: true },
      prompts: { listChanged: true },
      resources: { listChanged: true, subscribe: true },
    });
  });

  test("ID-30 what the caller may not see is not honoured, and its upstream not asked", async () => {
    const other = await TellingUpstream.start("modern", [echo]);
    other.resources = [{ name: "Secret", uri: "other://secret" }];
    await told(bench, peer, { name: "hidden", connection_string: other.url });
    const { honoured } = await listening(bench, key.value, {
      toolsListChanged: true,
      resourceSubscriptions: ["postern://hidden/other://secret"],
    });
    expect(honoured).toEqual({ toolsListChanged: true });
    expect(other.peer.requests).toEqual([]);
    await bench.audit.flush();
    const denied = bench.database.db.selectFrom("audit").selectAll().where("event", "=", "call.denied");
    expect(JSON.parse((await denied.executeTakeFirstOrThrow()).detail_json)).toEqual({
      method: "subscriptions/listen",
      target: "postern://hidden/other://secret",
    });
    await other.close();
  });

  test("x-bf-mcp-include-clients narrows it as it does lists", async () => {
    const headers = { "x-bf-mcp-include-clients": "another" };
    const { honoured } = await listening(
      bench,
      key.value,
      { ...lists, resourceSubscriptions: [FILE] },
      { headers },
    );
    expect(honoured).toEqual(lists);
  });

  test("a virtual MCP that the caller may not use is 404, and one that it loses ends the stream", async () => {
    expect((await ask(bench, key.value, lists, { path: "/mcp/team" })).status).toBe(404);
    const made = await bench.virtualMcps.create({
      slug: "team",
      name: "Team",
      upstreams: [{ upstreamId, tools: ["*"] }],
      virtualKeyIds: [key.id],
      userIds: [],
      source: "api",
    });
    const { events } = await listening(bench, key.value, lists, { path: "/mcp/team" });
    await bench.virtualMcps.update(made.id, () => ({ virtualKeyIds: [] }));
    expect((await events.rest()).at(-1)).toMatchObject({ id: "sub-1", result: { resultType: "complete" } });
  });
});

describe("the end of it", () => {
  const last = async (events: { rest(): Promise<Json[]> }) => (await events.rest()).at(-1);
  const over = { jsonrpc: "2.0", id: "sub-1", result: { resultType: "complete" } };

  test("ID-14 MC-39 a key that is switched off ends it, with its result", async () => {
    const { events } = await listening(bench, key.value, lists);
    const mine = await bench.key("mine", [{ upstreamId, tools: ["*"] }]);
    const other = await listening(bench, mine.value, lists);
    await bench.keys.update(key.id, { isActive: false });
    expect(await last(events)).toMatchObject(over);
    expect(bench.streams.size).toBe(1);
    await other.events.cancel();
  });

  test("ID-14 so does the date at which the key ends, until which it is kept alive", async () => {
    const world = bench.world;
    const until = world.now().getTime() + 60_000;
    const short = (await bench.keys.create({ name: "short", configs: [], source: "api", expiresAt: until }))
      .value;
    const { events } = await listening(bench, short.reveal(), lists);
    bench.streams.tick();
    world.advance(60_001);
    bench.streams.tick();
    expect(await last(events)).toMatchObject(over);
    expect(events.raw).toContain("\n\n: still here\n\n");
  });

  test("AV-21 a stop of the gateway ends all of them, with their results", async () => {
    const first = await listening(bench, key.value, lists);
    const second = await listening(bench, key.value, lists, { id: 2 });
    bench.streams.close();
    expect(await last(first.events)).toMatchObject(over);
    expect(await last(second.events)).toMatchObject({ ...over, id: 2 });
  });

  test("a client that goes is forgotten, and the upstream no longer listened to", async () => {
    const { events } = await listening(bench, key.value, { resourceSubscriptions: [FILE] });
    await eventually("the upstream is listened to", () => peer.isFollowed(FILE));
    await events.cancel();
    expect(bench.streams.size).toBe(0);
    await eventually("the upstream's streams are closed", () => peer.streams.size === 0);
  });

  test("AV-18 a caller has 32 streams at most; another is not touched by that", async () => {
    const open = await Promise.all(
      Array.from({ length: 32 }, (_, id) => listening(bench, key.value, lists, { id })),
    );
    const refused = await ask(bench, key.value, lists);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "60"]);
    expect((await json(refused)).error.code).toBe("too_many_streams");
    const other = await bench.key("other", []);
    await (await listening(bench, other.value, lists)).events.cancel();
    await open[0]!.events.cancel();
    const again = await listening(bench, key.value, lists);
    for (const { events } of [...open.slice(1), again]) await events.cancel();
  });

  test("AV-18 callers without a credential share a thousand, and take nothing from the others", async () => {
    await bench.fetch({});
    const client = {
      era: "legacy",
      version: "2025-06-18",
      capabilities: {},
      opensUrls: true,
      session: "s",
    } as const;
    const open = (at: number) => {
      const owner = { mode: "session", id: `anon_${at}` } as const;
      const caller = { owner, actor: owner.id, binding: owner.id };
      return bench.streams.open(new Listener({ caller, client, headers: { get: () => null } }), null);
    };
    for (let at = 0; at < 1_000; at += 1) open(at);
    expect(() => open(1_000)).toThrow("Too many streams");
    await (await listening(bench, key.value, lists)).events.cancel();
    bench.streams.end(({ caller }) => caller.binding === "anon_7");
    open(1_001);
    expect(bench.streams.size).toBe(1_000);
  });

  test("AV-18 who follows more than a hundred resources is refused", async () => {
    const resourceSubscriptions = Array.from({ length: 101 }, (_, at) => `file:///${at}`);
    const refused = await ask(bench, key.value, { resourceSubscriptions });
    expect([refused.status, (await json(refused)).error.code]).toEqual([429, "too_many_subscriptions"]);
  });

  test("AV-18 who does not read is dropped before it costs memory", async () => {
    const response = await ask(bench, key.value, { resourceSubscriptions: [FILE] });
    const params = { uri: FILE, filler: "x".repeat(64 * 1024) };
    for (let sent = 0; sent < 32 && bench.streams.size > 0; sent += 1)
      bench.streams.send(() => true, { method: "notifications/resources/updated", params });
    expect(bench.streams.size).toBe(0);
    await response.body!.cancel();
  });
});
