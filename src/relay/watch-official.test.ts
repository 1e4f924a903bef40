import { fileURLToPath } from "node:url";
import { toNodeHandler } from "@modelcontextprotocol/node";
import { createMcpHandler, McpServer } from "@modelcontextprotocol/server";
import { afterEach, expect, test } from "vitest";
import { startLoopbackServer } from "../../test/peers/loopback-server.ts";
import { startPollingUpstream } from "../../test/peers/polling-upstream.ts";
import { watchedLog } from "../../test/support/leavings.ts";
import { Hidden, type JsonObject, openOutbound, systemWorld } from "../base/index.ts";
import { Relay, type RelayCall, type RelayUpstream, type WatchWanted } from "./index.ts";
import { eventually, LISTS, UPDATED } from "./watch.suite.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function start(url: string): { relay: Relay; upstream: RelayUpstream } {
  const everything = import.meta.resolve("@modelcontextprotocol/server-everything/dist/index.js");
  const args = [fileURLToPath(everything), "stdio"].map((arg) => new Hidden(arg));
  const host = new URL(url).host;
  const outbound = openOutbound({ allow: { admin: host ? [host] : [], stranger: [] } });
  const relay = new Relay({
    world: systemWorld({ outbound, log: watchedLog() }),
    version: "1.2.3",
    upstreams: { recordEra: async () => {} },
    commands: new Map([["acme", { command: process.execPath, args, env: {}, secrets: [] }]]),
    vault: {
      open: async () => ({ outcome: "needs_user", reason: "missing" }),
      openWarm: () => undefined,
      markRejected: async () => {},
    },
    firstPauseMs: 20,
  });
  closing.push(
    () => outbound.close(),
    () => relay.close(),
  );
  const upstream = {
    id: "up_1",
    name: "acme",
    url: new URL(url),
    perUser: false,
    headers: {},
    generation: 1,
  };
  return { relay, upstream: { ...upstream, timeoutMs: 20_000 } };
}

function watch(relay: Relay, upstream: RelayUpstream, wanted: WatchWanted) {
  const heard: { method: string; params: JsonObject }[] = [];
  const lost: string[] = [];
  const watching = relay.watch({ upstream }, wanted, {
    notification: (method, params) => void heard.push({ method, params }),
    lost: (reason) => void lost.push(reason),
  });
  return { heard, lost, watching };
}

const call = (relay: Relay, upstream: RelayUpstream, name: string, more: Partial<RelayCall> = {}) =>
  relay.call({
    upstream,
    caller: "ann",
    method: "tools/call",
    params: { name, arguments: {} },
    client: { era: "legacy", capabilities: { elicitation: {}, sampling: {} } },
    signal: new AbortController().signal,
    ...more,
  });

const answering = (content: JsonObject): Pick<RelayCall, "onRequest"> => ({
  onRequest: async () => ({ result: { action: "accept", content } }),
});

test("the official SDK v2 tells of changes (2026-07-28)", async () => {
  const capabilities = { tools: { listChanged: true }, resources: { subscribe: true } };
  const handler = createMcpHandler(() => new McpServer({ name: "v2", version: "1" }, { capabilities }), {
    legacy: "reject",
  });
  const serve = toNodeHandler(handler);
  const listening = await startLoopbackServer((req, res) => {
    serve(req, res).catch(() => res.destroy());
  });
  closing.push(
    () => listening.close(),
    () => handler.close(),
  );
  const { relay, upstream } = start(`${listening.origin}/mcp`);
  const told = watch(relay, upstream, { toolsListChanged: true, resourceSubscriptions: ["a://1"] });
  const nothing = watch(relay, { ...upstream, id: "up_2" }, { promptsListChanged: true });
  await eventually(() => {
    handler.notify.resourceUpdated("a://1");
    handler.notify.resourceUpdated("a://2");
    return told.heard.length;
  }).toBeGreaterThan(0);
  expect(told.heard[0]).toEqual({ method: UPDATED, params: { uri: "a://1" } });
  handler.notify.toolsChanged();
  await eventually(() => told.heard.map(({ method }) => method)).toContain(LISTS.tools);
  await eventually(() => nothing.lost).toEqual(["not_offered"]);
});

test("the official SDK v1 tells of changes on the standing stream, and is polled (2025-11-25)", async () => {
  const peer = await startPollingUpstream();
  closing.push(() => peer.close());
  const { relay, upstream } = start(peer.url);
  const told = watch(relay, upstream, { toolsListChanged: true, resourceSubscriptions: ["a://1"] });
  await eventually(async () => {
    await peer.tell(LISTS.tools);
    return told.heard.length;
  }).toBeGreaterThan(0);
  await peer.tell(UPDATED, { uri: "a://1" });
  await eventually(() => told.heard.at(-1)).toEqual({ method: UPDATED, params: { uri: "a://1" } });
  const heard: unknown[] = [];
  const polled = await call(relay, upstream, "poll", {
    onNotification: ({ params }) => void heard.push(params?.data),
  });
  expect(polled).toMatchObject({ outcome: "result", result: { content: [{ text: "polled" }] } });
  expect(heard).toEqual([1, 2]);
  expect(peer.methods.filter((method) => method === "GET").length).toBeGreaterThan(1);
});

test("the official SDK v1 asks on the standing stream of a session", async () => {
  const peer = await startPollingUpstream();
  closing.push(() => peer.close());
  const { relay, upstream } = start(peer.url);
  const relayed = await call(relay, upstream, "ask", answering({ colour: "red" }));
  expect(relayed).toMatchObject({
    result: { content: [{ text: '{"action":"accept","content":{"colour":"red"}}' }] },
  });
});

test("the official server-everything asks and tells over stdio", async () => {
  const { relay, upstream } = start("stdio:node");
  const program: RelayUpstream = { ...upstream, connectionType: "stdio" };
  const relayed = await call(relay, program, "trigger-elicitation-request", answering({ name: "Ann" }));
  expect(JSON.stringify(relayed)).toContain("Ann");
  const told = watch(relay, program, { resourceSubscriptions: ["demo://resource/dynamic/text/1"] });
  await eventually(async () => {
    await call(relay, program, "toggle-subscriber-updates");
    return told.heard[0]?.params.uri;
  }).toBe("demo://resource/dynamic/text/1");
});
