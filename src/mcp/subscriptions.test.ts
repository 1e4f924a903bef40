import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "../../test/journeys/steps/eventually.ts";
import { TellingUpstream } from "../../test/peers/telling-upstream.ts";
import type { Events } from "../../test/support/events.ts";
import type { Upstream } from "../upstreams/index.ts";
import { type Bench, echo, type Json, openBench } from "./endpoint.suite.ts";
import { listening, standing, store, told, untagged, updated } from "./pushes.suite.ts";

const FILE = "file:///readme.md";
const OTHER = "file:///other.md";

const peers: TellingUpstream[] = [];
let bench: Bench;

beforeEach(async () => {
  peers.push(await TellingUpstream.start("modern", [echo]), await TellingUpstream.start("legacy", [echo]));
  bench = await openBench(...peers.map(({ peer }) => peer));
});

afterEach(async () => {
  await bench.close();
  for (const peer of peers.splice(0)) await peer.close();
});

const peerOf = (era: string) => peers.find(({ peer }) => peer.era === era)!;
const keyFor = (name: string, ...upstreams: Upstream[]) =>
  bench.key(
    name,
    upstreams.map(({ id }) => ({ upstreamId: id, tools: ["*"] })),
  );

interface Follower {
  events: Events;
  next(): Promise<Json>;
}

/** A client of either era that follows these resources. */
const following = {
  async legacy(key: string, uris: string[]): Promise<Follower & { session: Record<string, string> }> {
    const { events, session } = await standing(bench, key);
    for (const uri of uris)
      expect((await bench.legacy(key, "resources/subscribe", { uri }, session)).body).toEqual({
        jsonrpc: "2.0",
        id: 7,
        result: {},
      });
    return { events, session, next: () => events.next() };
  },
  async modern(key: string, uris: string[]): Promise<Follower> {
    const { events, honoured } = await listening(bench, key, { resourceSubscriptions: uris });
    expect(honoured).toEqual({ resourceSubscriptions: uris });
    return { events, next: async () => untagged(await events.next()) };
  },
};
const both = ["legacy", "modern"] as const;
const cells = both.flatMap((client) => both.map((upstream) => [client, upstream] as const));
const personal = { auth_type: "per_user_oauth" };

describe.each(cells)("resources/updated, %s client and %s upstream", (client, era) => {
  test("arrives under the client's own name for it, and nothing else does", async () => {
    const peer = peerOf(era);
    const [first, twin] = [await told(bench, peer), await told(bench, peer, { name: "twin" })];
    const { value } = await keyFor("k", first, twin);
    const name = `postern://acme/${FILE}`;
    const { next } = await following[client](value, [name]);
    await eventually("it is followed", () => peer.isFollowed(FILE));
    peer.say("notifications/resources/updated", { uri: "file:///foreign" });
    peer.say("notifications/resources/updated", { uri: OTHER });
    peer.updated(FILE);
    expect(await next()).toEqual(updated(name));
  });

  test("ID-21 of one person never reaches another, though the URI is the same", async () => {
    const peer = peerOf(era);
    const upstream = await told(bench, peer, personal);
    const [anna, bert] = [await keyFor("anna", upstream), await keyFor("bert", upstream)];
    await bench.connected(anna.owner, upstream, "at-anna");
    await bench.connected(bert.owner, upstream, "at-bert");
    const [hers, his] = [
      await following[client](anna.value, [FILE, OTHER]),
      await following[client](bert.value, [FILE, OTHER]),
    ];
    for (const token of ["at-anna", "at-bert"])
      await eventually(
        `${token} follows`,
        () => peer.isFollowed(FILE, token) && peer.isFollowed(OTHER, token),
      );
    peer.updated(FILE, "at-anna");
    expect(await hers.next()).toEqual(updated(FILE));
    peer.updated(OTHER, "at-bert");
    expect(await his.next()).toEqual(updated(OTHER));
    peer.updated(OTHER, "at-anna");
    expect(await hers.next()).toEqual(updated(OTHER));
  });

  test("stops when its client goes: the upstream is not followed any more", async () => {
    const peer = peerOf(era);
    const { value } = await keyFor("k", await told(bench, peer));
    const { events } = await following[client](value, [FILE]);
    await eventually("it is followed", () => peer.isFollowed(FILE));
    await events.cancel();
    await eventually("nothing is open", () => peer.streams.size === 0);
  });

  test("ID-14 stops when access is withdrawn, and comes back with it", async () => {
    const peer = peerOf(era);
    const upstream = await told(bench, peer);
    const other = await told(bench, peer, { name: "other" });
    const key = await keyFor("k", upstream);
    await following[client](key.value, [FILE]);
    await eventually("it is followed", () => peer.isFollowed(FILE));
    await bench.keys.update(key.id, { configs: [] });
    await eventually("nothing is open", () => peer.streams.size === 0);
    await bench.keys.update(key.id, { configs: [{ upstreamId: other.id, tools: ["*"] }] });
    await eventually("it is followed again", () => peer.isFollowed(FILE));
  });

  test("begins when the account is connected, and says that something may have changed", async () => {
    const peer = peerOf(era);
    const upstream = await told(bench, peer, personal);
    const key = await keyFor("k", upstream);
    const { next } = await following[client](key.value, [FILE]);
    await bench.connected(key.owner, upstream, "at-1");
    if (client === "legacy") expect((await next()).method).toBe("notifications/tools/list_changed");
    expect(await next()).toEqual(updated(FILE));
    await eventually("it is followed", () => peer.isFollowed(FILE, "at-1"));
  });
});

describe("resources/subscribe", () => {
  const subscribe = (key: string, uri: string, session: Record<string, string>, method = "subscribe") =>
    bench.legacy(key, `resources/${method}`, { uri }, session);

  test("2025-11-25 initialize announces it where an upstream does", async () => {
    const upstream = await told(bench, peerOf("modern"));
    const { value } = await keyFor("k", upstream);
    const capabilities = async () =>
      (await bench.legacy(value, "initialize", { protocolVersion: "2025-11-25" })).body.result.capabilities;
    expect(await capabilities()).toMatchObject({
      tools: { listChanged: true },
      prompts: { listChanged: true },
      resources: { listChanged: true, subscribe: true },
    });
    peerOf("modern").capabilities = { tools: {}, resources: {} };
    await store(bench, upstream.id, peerOf("modern"));
    expect(await capabilities()).toEqual({ tools: { listChanged: true }, resources: { listChanged: true } });
    const session = await bench.session(value, {});
    expect((await subscribe(value, FILE, session)).body.error.code).toBe(-32601);
  });

  test("ID-30 an unknown URI is refused, one of somebody else's looks the same, and no upstream is asked", async () => {
    const [mine, other] = [await told(bench, peerOf("modern")), peerOf("legacy")];
    other.resources = [{ name: "Secret", uri: "other://secret" }];
    await told(bench, other, { name: "other" });
    const { value } = await keyFor("k", mine);
    const { session } = await standing(bench, value);
    const long = `file:///${"x".repeat(2_048)}`;
    for (const uri of ["postern://nobody/x", "postern://other/other://secret", `${FILE}\0`, long]) {
      const { body } = await subscribe(value, uri, session);
      expect(body.error).toMatchObject({ code: -32002, data: { uri: uri.slice(0, 1024) } });
    }
    expect((await subscribe(value, 7 as never, session)).body.error.code).toBe(-32602);
    expect(other.peer.requests).toEqual([]);
  });

  test("is refused where the resource's own server tells nothing", async () => {
    const [quiet, loud] = [peerOf("modern"), peerOf("legacy")];
    quiet.capabilities = { tools: {}, resources: {} };
    loud.resources = [];
    const { value } = await keyFor("k", await told(bench, quiet), await told(bench, loud, { name: "loud" }));
    const { body } = await subscribe(value, FILE, await bench.session(value, {}));
    expect(body.error).toMatchObject({ code: -32602, data: { uri: FILE } });
  });

  test("wants a session, and is gone in 2026-07-28", async () => {
    const { value } = await keyFor("k", await told(bench, peerOf("modern")));
    const bare = await subscribe(value, FILE, {});
    expect([bare.status, bare.body.error.code]).toEqual([400, -32600]);
    const modern = await bench.modern(value, "resources/subscribe", { uri: FILE });
    expect([modern.status, modern.body.error.code]).toEqual([404, -32601]);
  });

  test("ends with unsubscribe; once more does no harm", async () => {
    const peer = peerOf("modern");
    const { value } = await keyFor("k", await told(bench, peer));
    const { session } = await following.legacy(value, [FILE, FILE, OTHER]);
    await eventually("both are followed", () => peer.isFollowed(FILE) && peer.isFollowed(OTHER));
    for (const _ of [1, 2])
      expect((await subscribe(value, FILE, session, "unsubscribe")).body.result).toEqual({});
    await eventually("one is left", () => !peer.isFollowed(FILE) && peer.isFollowed(OTHER));
  });

  test("is its session's alone, outlives the stream, and ends with the session", async () => {
    const peer = peerOf("modern");
    const { value } = await keyFor("k", await told(bench, peer));
    const session = await bench.session(value, {});
    expect((await subscribe(value, FILE, session)).status).toBe(200);
    const [other] = [await standing(bench, value)];
    const first = await standing(bench, value, { session });
    await eventually("it is followed", () => peer.isFollowed(FILE));
    peer.updated(FILE);
    expect(await first.events.next()).toEqual(updated(FILE));
    await first.events.cancel();
    await eventually("it is not followed", () => !peer.isFollowed(FILE));
    const second = await standing(bench, value, { session });
    await eventually("it is followed again", () => peer.isFollowed(FILE));
    await bench.fetch(undefined, { authorization: `Bearer ${value}`, ...session }, { method: "DELETE" });
    // It broke meanwhile, so something may have been missed; then it is over.
    for (const message of await second.events.rest()) expect(message).toEqual(updated(FILE));
    await eventually("it is not followed", () => !peer.isFollowed(FILE));
    const rows = await bench.database.db.selectFrom("resource_subscriptions").selectAll().execute();
    expect(rows).toEqual([]);
    bench.streams.send(() => true, { method: "notifications/barrier" });
    expect((await other.events.next()).method).toBe("notifications/barrier");
  });

  test("AV-18 a session follows a hundred resources, and all of a caller's a thousand", async () => {
    const peer = peerOf("modern");
    peer.resources = Array.from({ length: 101 }, (_, at) => ({ name: `${at}`, uri: `file:///${at}` }));
    const { value } = await keyFor("k", await told(bench, peer));
    const session = await bench.session(value, {});
    for (let at = 0; at < 100; at += 1)
      expect((await subscribe(value, `file:///${at}`, session)).status).toBe(200);
    const refused = await subscribe(value, "file:///100", session);
    expect([refused.status, refused.body.error.code]).toEqual([429, "too_many_subscriptions"]);
    expect((await subscribe(value, "file:///7", session)).status).toBe(200);
  });

  test("MC-03 works over the transport of 2024-11-05 too", async () => {
    const peer = peerOf("legacy");
    const { value } = await keyFor("k", await told(bench, peer));
    const headers = { "x-api-key": value };
    const opened = await bench.fetch(undefined, headers, { method: "GET", path: "/sse" });
    const reader = opened.body!.getReader();
    let text = "";
    const until = async (part: string) => {
      while (!text.includes(part)) text += new TextDecoder().decode((await reader.read()).value);
    };
    await until("\n\n");
    const path = /data: (\/sse\/\S+)/.exec(text)![1]!;
    const post = (body: Json) => bench.fetch({ jsonrpc: "2.0", ...body }, headers, { path });
    const params = {
      protocolVersion: "2024-11-05",
      capabilities: {},
      clientInfo: { name: "c", version: "1" },
    };
    await post({ id: 1, method: "initialize", params });
    await until('"id":1');
    expect(text).toContain('"listChanged":true');
    await post({ id: 2, method: "resources/subscribe", params: { uri: FILE } });
    await until('"id":2');
    await eventually("it is followed", () => peer.isFollowed(FILE));
    peer.updated(FILE);
    await until(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"${FILE}"}}`);
    await reader.cancel();
    await eventually("nothing is open", () => peer.streams.size === 0);
  });
});
