import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SseUpstream } from "../../test/peers/sse-upstream.ts";
import { watchedLog } from "../../test/support/leavings.ts";
import { Hidden, type JsonObject, type Outbound, openOutbound, systemWorld } from "../base/index.ts";
import type { Opened } from "../vault/index.ts";
import { type Notification, Relay, type RelayCall, type RelayUpstream, type WatchWanted } from "./index.ts";
import { eventually, LISTS, ready, UPDATED } from "./watch.suite.ts";

const script = fileURLToPath(new URL("../../test/peers/program.ts", import.meta.url));
const commands = new Map(
  ["legacy", "modern"].map((era) => {
    const args = [script, era, "watch"].map((arg) => new Hidden(arg));
    return [era, { command: process.execPath, args, env: {}, secrets: [] }] as const;
  }),
);

let peer: SseUpstream;
let outbound: Outbound;
let relay: Relay;
let open: (owner: string, notGeneration?: number) => Opened;
let ahead: number;

beforeEach(async () => {
  peer = await SseUpstream.start();
  peer.capabilities = { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} };
  outbound = openOutbound({ allow: { admin: [new URL(peer.url).host], stranger: [] } });
  open = (owner) => ready(owner, 1);
  ahead = 0;
  const world = systemWorld({ outbound, log: watchedLog() });
  relay = new Relay({
    world: { ...world, now: () => new Date(world.now().getTime() + ahead) },
    version: "1.2.3",
    upstreams: { recordEra: async () => {} },
    commands,
    vault: {
      open: async (owner, _upstream, _account, options) => open(owner.id, options?.notGeneration),
      openWarm: () => undefined,
      markRejected: async () => {},
    },
    firstPauseMs: 20,
  });
});

afterEach(async () => {
  await relay.close();
  await outbound.close();
  await peer.close();
});

const target = (more: Partial<RelayUpstream>): RelayUpstream => ({
  id: "up_1",
  name: "acme",
  url: new URL(peer.url),
  connectionType: "sse",
  perUser: false,
  headers: {},
  generation: 1,
  timeoutMs: 10_000,
  ...more,
});
const sse = (more: Partial<RelayUpstream> = {}) => target(more);
const program = (era: string) => target({ name: era, connectionType: "stdio", url: new URL("stdio:node") });

function watch(upstream: RelayUpstream, wanted: WatchWanted, owner?: string) {
  const heard: { method: string; params: JsonObject }[] = [];
  const lost: string[] = [];
  const told = { heard, lost, reopened: 0, watching: undefined as unknown as ReturnType<Relay["watch"]> };
  const whose = owner === undefined ? {} : { owner: { mode: "user", id: owner } as const };
  told.watching = relay.watch({ upstream, ...whose }, wanted, {
    notification: (method, params) => void heard.push({ method, params }),
    lost: (reason) => void lost.push(reason),
    reopened: () => {
      told.reopened += 1;
    },
  });
  return told;
}

function call(upstream: RelayUpstream, name: string, args: JsonObject = {}, more: Partial<RelayCall> = {}) {
  return relay.call({
    upstream,
    method: "tools/call",
    params: { name, arguments: args },
    client: { era: "legacy", capabilities: {} },
    signal: new AbortController().signal,
    ...more,
  });
}

async function said(...given: Parameters<typeof call>) {
  const relayed = await call(...given);
  if (relayed.outcome !== "result") throw new Error(JSON.stringify(relayed));
  const [block] = relayed.result.content as { text: string }[];
  try {
    return JSON.parse(block!.text);
  } catch {
    return block!.text;
  }
}

const answering = (who: string): Partial<RelayCall> => ({
  caller: who,
  client: { era: "legacy", capabilities: { elicitation: {}, sampling: {}, roots: {} } },
  onRequest: async ({ method, params }) => ({ result: { who, method, asked: params?.message ?? null } }),
});

describe("HTTP with SSE", () => {
  test("has a connection of its own, subscribes on it, and closes it", async () => {
    const told = watch(sse(), { toolsListChanged: true, resourceSubscriptions: ["a://1"] });
    await eventually(() => peer.methods()).toContain("resources/subscribe");
    const [session] = peer.sessions.values();
    await call(sse(), "echo");
    expect(peer.opened).toBe(2);
    session!.say({ method: LISTS.tools });
    session!.say({ method: UPDATED, params: { uri: "a://1" } });
    session!.say({ method: UPDATED, params: { uri: "a://9" } });
    await eventually(() => told.heard.length).toBe(2);
    told.watching.change({ resourceSubscriptions: ["a://2"] });
    await eventually(() => peer.methods().slice(-2)).toEqual([
      "resources/unsubscribe",
      "resources/subscribe",
    ]);
    told.watching.close();
    await eventually(() => peer.sessions.size).toBe(1);
  });

  test("a connection that breaks is opened again; a revoked credential closes it", async () => {
    const mine = sse({ perUser: true });
    const told = watch(mine, { toolsListChanged: true }, "ann");
    watch(mine, { toolsListChanged: true }, "bob");
    await eventually(() => peer.methods().filter((one) => one === "notifications/initialized").length).toBe(
      2,
    );
    const [one, other] = [...peer.sessions.values()];
    expect([one!, other!].map(({ headers }) => headers.authorization).sort()).toEqual([
      "Bearer ann-1",
      "Bearer bob-1",
    ]);
    peer.cut();
    await eventually(() => told.reopened).toBe(1);
    expect(told.lost).toEqual(["upstream_unreachable"]);
    open = (owner) => (owner === "ann" ? { outcome: "needs_user", reason: "missing" } : ready(owner, 1));
    await eventually(() => told.lost).toEqual(["upstream_unreachable", "needs_user"]);
    await eventually(() => [...peer.sessions.values()].map(({ headers }) => headers.authorization)).toEqual([
      "Bearer bob-1",
    ]);
  });

  test("a refused one renews the credential once", async () => {
    open = (owner, notGeneration = 0) => ready(owner, notGeneration + 1);
    peer.token = "ann-2";
    const told = watch(sse({ perUser: true }), { toolsListChanged: true }, "ann");
    await eventually(() => peer.sessions.size).toBe(1);
    expect(told.lost).toEqual([]);
  });

  test("the log level of a call is set before it, and not again for one that wants less", async () => {
    await call(sse(), "echo", {}, { logLevel: "info" });
    await call(sse(), "echo", {}, { logLevel: "error" });
    await call(sse(), "echo", {}, { logLevel: "debug" });
    await call(sse(), "echo");
    const levels = peer.posted.filter(({ rpc }) => rpc.method === "logging/setLevel");
    expect(levels.map(({ rpc }) => rpc.params?.level)).toEqual(["info", "debug"]);
  });
});

describe("programs", () => {
  test.each(["legacy", "modern"])(
    "a %s one tells changes; nothing is left when nobody listens",
    async (era) => {
      const upstream = program(era);
      const told = watch(upstream, { toolsListChanged: true, resourceSubscriptions: ["a://1"] });
      const watched = () => said(upstream, "watched");
      const isWatched = async () => {
        const { listening, subscribed } = await watched();
        return listening.length + subscribed.length;
      };
      await eventually(isWatched).toBe(1);
      await call(upstream, "change");
      await call(upstream, "change", { uri: "a://1" });
      await eventually(() => told.heard.map(({ method }) => method)).toEqual([LISTS.tools, UPDATED]);
      expect(told.heard[1]!.params).toEqual({ uri: "a://1" });
      told.watching.change({ resourceSubscriptions: ["a://2"] });
      await eventually(watched).toMatchObject(
        era === "legacy" ? { subscribed: ["a://2"] } : { listening: [{ resourceSubscriptions: ["a://2"] }] },
      );
      await call(upstream, "change", { uri: "a://2" });
      await eventually(() => told.heard.at(-1)?.params).toEqual({ uri: "a://2" });
      told.watching.close();
      await eventually(isWatched).toBe(0);
    },
  );

  test("one that ends is started again for whoever listens", async () => {
    const upstream = program("legacy");
    const told = watch(upstream, { toolsListChanged: true });
    await call(upstream, "crash");
    await eventually(() => told.reopened).toBe(1);
    await call(upstream, "change");
    await eventually(() => told.heard.length).toBe(1);
  });

  test("an older one asks the client of the one call that is under way", async () => {
    const upstream = program("legacy");
    expect((await said(upstream, "watched")).offered).toEqual({
      elicitation: { form: {}, url: {} },
      sampling: {},
    });
    ahead = 5_000;
    expect(await said(upstream, "question", { message: "Which?" }, answering("ann"))).toMatchObject({
      result: { who: "ann", method: "elicitation/create", asked: "Which?" },
    });
    // At once after: it is still the same person.
    expect(
      await said(upstream, "question", { method: "sampling/createMessage" }, answering("ann")),
    ).toMatchObject({ result: { who: "ann", method: "sampling/createMessage" } });
  });

  const refused = { error: { code: -32601, message: "Method not found" } };

  test("MC-16 what may be about somebody else's call goes to nobody", async () => {
    const upstream = program("legacy");
    await call(upstream, "echo", {}, answering("ann"));
    // A moment ago it worked for somebody else.
    expect(await said(upstream, "question", {}, answering("bob"))).toMatchObject(refused);
    ahead = 5_000;
    const both = ["ann", "bob"].map((who) => said(upstream, "question", { ms: 50 }, answering(who)));
    expect(await Promise.all(both)).toMatchObject([refused, refused]);
    ahead = 10_000;
    const leaving = new AbortController();
    const given = call(upstream, "hang", {}, { ...answering("ann"), signal: leaving.signal });
    await call(upstream, "echo");
    leaving.abort();
    await given;
    ahead = 60_000;
    expect(await said(upstream, "question", {}, answering("bob"))).toMatchObject(refused);
    ahead = 11 * 60_000;
    expect(await said(upstream, "question", {}, answering("bob"))).toMatchObject({ result: { who: "bob" } });
  });

  test("its log messages reach the one call, at the level that was asked for", async () => {
    const upstream = program("legacy");
    const heard: Record<string, Notification[]> = { ann: [], bob: [] };
    const listening = (who: string) => ({
      caller: who,
      logLevel: "info",
      onNotification: (note: Notification) => void heard[who]!.push(note),
    });
    expect(await said(upstream, "log", { who: "ann" }, listening("ann"))).toEqual({ level: "info" });
    expect(heard.ann).toEqual([{ method: "notifications/message", params: { level: "info", data: "ann" } }]);
    await call(upstream, "log", { who: "bob" }, listening("bob"));
    expect(heard.bob).toEqual([]);
  });
});
