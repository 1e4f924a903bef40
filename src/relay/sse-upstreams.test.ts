import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startEverythingUpstream } from "../../test/peers/everything-upstream.ts";
import { type Posted, SseUpstream } from "../../test/peers/sse-upstream.ts";
import { watchedLog } from "../../test/support/leavings.ts";
import { type JsonObject, type Outbound, openOutbound, systemWorld } from "../base/index.ts";
import type { Credential, Opened } from "../vault/index.ts";
import { type Notification, Relay, type RelayCall, type RelayUpstream } from "./index.ts";

let peer: SseUpstream;
let outbound: Outbound;
let relay: Relay;
let rejected: number[];
let now: number;
let open: (owner: { id: string }, notGeneration?: number) => Opened;

beforeEach(async () => {
  peer = await SseUpstream.start();
  rejected = [];
  now = 1_000_000_000_000;
  open = () => ({ outcome: "needs_user", reason: "missing" });
  start([new URL(peer.url).host]);
});

function start(allowed: string[]): void {
  outbound = openOutbound({ allow: { admin: allowed, stranger: [] } });
  relay = new Relay({
    world: { ...systemWorld({ outbound, log: watchedLog() }), now: () => new Date(now) },
    version: "1.2.3",
    upstreams: { recordEra: async () => {} },
    vault: {
      open: async (owner, _upstream, _account, options) => open(owner, options?.notGeneration),
      openWarm: () => undefined,
      markRejected: async (credential) => void rejected.push(credential.generation),
    },
  });
}

afterEach(async () => {
  await relay.close();
  await outbound.close();
  await peer.close();
});

function target(more: Partial<RelayUpstream> = {}): RelayUpstream {
  return {
    id: "up_1",
    name: "acme",
    url: new URL(peer.url),
    connectionType: "sse",
    perUser: false,
    headers: {},
    generation: 1,
    timeoutMs: 5_000,
    ...more,
  };
}

function call(args: JsonObject = {}, more: Partial<RelayCall> = {}) {
  return relay.call({
    upstream: target(),
    method: "tools/call",
    params: { name: "echo", arguments: args },
    client: { era: "modern", capabilities: {} },
    signal: new AbortController().signal,
    ...more,
  });
}

function ready(id: string, generation = 1): Opened {
  const authorize = (headers: Record<string, string>) => {
    headers.authorization = `Bearer ${id}-${generation}`;
  };
  return { outcome: "ready", credential: { id, generation } as Credential, authorize };
}

const args = ({ rpc }: Posted) => (rpc.params?.arguments ?? {}) as JsonObject;

describe("the connection", () => {
  test("is opened once for many calls, initialized, and carries unknown fields both ways", async () => {
    const [first] = await Promise.all([call({ a: 1, "x-y": [null] }), call(), call()]);
    expect(first).toEqual({
      outcome: "result",
      result: { content: [{ type: "text", text: '{"a":1,"x-y":[null]}' }], "x-unknown": 1 },
    });
    expect(peer.opened).toBe(1);
    expect(peer.methods().slice(0, 2)).toEqual(["initialize", "notifications/initialized"]);
    expect(peer.posted[0]!.rpc.params).toMatchObject({ protocolVersion: "2025-11-25", capabilities: {} });
    expect(peer.posted.at(-1)!.headers["mcp-protocol-version"]).toBe("2024-11-05");
    expect((await relay.listTools(target()))[0]).toMatchObject({ name: "echo", "x-unknown": 1 });
  });

  test("answers reach their calls in whatever order they come", async () => {
    const waiting: Posted[] = [];
    peer.on = (posted) => {
      if (posted.rpc.method !== "tools/call") return undefined;
      waiting.push(posted);
      if (waiting.length < 3) return "nothing";
      for (const one of waiting.reverse())
        one.session.say({ id: one.rpc.id, result: { content: [{ type: "text", text: args(one).who }] } });
      return "nothing";
    };
    const answers = await Promise.all(["a", "b", "c"].map((who) => call({ who })));
    expect(answers).toMatchObject(["a", "b", "c"].map((text) => ({ result: { content: [{ text }] } })));
  });

  test("an address on another origin gets nothing", async () => {
    const other = await SseUpstream.start();
    try {
      for (const endpoint of [
        `${new URL(other.url).origin}/message`,
        "http://u:p@127.0.0.1/",
        "http://[",
        "//x/y",
      ]) {
        peer.endpoint = endpoint;
        expect(await call()).toMatchObject({ outcome: "failed", code: "upstream_protocol" });
      }
      expect(other.posted).toEqual([]);
    } finally {
      await other.close();
    }
  });

  test("the guard counts for it too", async () => {
    await relay.close();
    await outbound.close();
    start([]);
    expect(await call()).toMatchObject({ outcome: "failed", code: "upstream_address_refused" });
    expect(peer.opened).toBe(0);
  });

  test("a redirect, another type, an endless silence and an endless event end in an error", async () => {
    const upstream = target({ url: new URL("/elsewhere", peer.url) });
    expect(await call({}, { upstream })).toMatchObject({ outcome: "failed", code: "upstream_protocol" });
    peer.opening = ": nothing\n\n";
    const brief = target({ timeoutMs: 200 });
    expect(await call({}, { upstream: brief })).toMatchObject({ code: "upstream_timeout" });
    peer.opening = `event: endpoint\ndata: ${"x".repeat(17 * 1024 * 1024)}`;
    const next = target({ generation: 2 });
    expect(await call({}, { upstream: next })).toMatchObject({ code: "upstream_too_large" });
  });

  test("one that is lost in mid-call fails the call, which is not repeated; the next call opens another (AV-16)", async () => {
    await call();
    peer.on = ({ rpc }) => {
      if (rpc.method !== "tools/call") return undefined;
      peer.cut();
      return "nothing";
    };
    expect(await call()).toEqual({ outcome: "failed", code: "upstream_unreachable", retryable: false });
    peer.on = undefined;
    expect((await call()).outcome).toBe("result");
    expect(peer.opened).toBe(2);
    expect(peer.methods().filter((method) => method === "tools/call")).toHaveLength(3);
  });

  test("one that the upstream has forgotten is opened again, once", async () => {
    await call();
    peer.sessions.clear();
    expect((await call()).outcome).toBe("result");
    expect(peer.opened).toBe(2);
    peer.refuse = 404;
    expect(await call()).toMatchObject({ outcome: "failed", code: "upstream_protocol" });
  });

  test("one that nobody uses is closed after a while", async () => {
    await call();
    expect(peer.sessions.size).toBe(1);
    now += 10 * 60_000;
    relay.sweep();
    await expect.poll(() => peer.sessions.size).toBe(0);
    expect((await call()).outcome).toBe("result");
  });
});

describe("whose it is", () => {
  const perUser = () => target({ perUser: true });
  const as = (id: string, more: Partial<RelayCall> = {}) =>
    call({ who: id }, { upstream: perUser(), owner: { mode: "user", id }, ...more });

  test("each credential has its own, and a new generation another", async () => {
    let generation = 1;
    open = ({ id }) => ready(id, generation);
    await Promise.all([as("ann"), as("bob"), as("ann")]);
    expect(peer.opened).toBe(2);
    for (const { headers, session, rpc } of peer.posted) {
      expect(headers.authorization).toBe(session.headers.authorization);
      if (rpc.method === "tools/call")
        expect(headers.authorization).toContain(`${args({ rpc } as Posted).who}-1`);
    }
    generation = 2;
    await as("ann");
    expect(peer.opened).toBe(3);
  });

  test("a rejected credential is refreshed once, then its person is needed", async () => {
    open = ({ id }, notGeneration = 0) => ready(id, notGeneration + 1);
    peer.token = "ann-2";
    expect((await as("ann")).outcome).toBe("result");
    expect(rejected).toEqual([1]);
    peer.token = "other";
    expect(await as("ann", { owner: { mode: "user", id: "eve" } })).toMatchObject({ outcome: "needs_user" });
  });

  test("progress goes to its call, a log message to the one call that waits, and to nobody of two", async () => {
    open = ({ id }) => ready(id);
    const heard: Record<string, Notification[]> = { ann: [], bob: [] };
    peer.on = ({ rpc, session }) => {
      if (rpc.method !== "tools/call") return undefined;
      session.say({ method: "notifications/message", params: { level: "info", data: "x" } });
      session.say({ method: "notifications/progress", params: { progressToken: rpc.id, progress: 1 } });
      session.say({ method: "notifications/progress", params: { progressToken: 123_456, progress: 2 } });
      return undefined;
    };
    const params = { name: "echo", arguments: {}, _meta: { progressToken: "mine" } };
    await as("ann", { params, onNotification: (note) => void heard.ann!.push(note) });
    expect(heard.ann).toEqual([
      { method: "notifications/message", params: { level: "info", data: "x" } },
      { method: "notifications/progress", params: { progressToken: "mine", progress: 1 } },
    ]);
    heard.ann = [];
    // Everybody shares it: what names no call is for nobody while it may be about what somebody else did a moment ago.
    await call();
    await call({}, { params, onNotification: (note) => void heard.bob!.push(note) });
    expect(heard.bob).toEqual([
      { method: "notifications/progress", params: { progressToken: "mine", progress: 1 } },
    ]);
  });

  test("what an upstream asks goes to the client whose call it is, each on a connection of its own", async () => {
    open = ({ id }) => ready(id);
    const waiting: Posted[] = [];
    peer.on = (posted) => {
      const { rpc, session } = posted;
      if (rpc.method !== "tools/call") return undefined;
      waiting.push(posted);
      session.say({ id: "q", method: "elicitation/create", params: { message: args(posted).who } });
      return "nothing";
    };
    const client = { era: "legacy", capabilities: { elicitation: {} } } as const;
    const ask = (who: string) =>
      as("ann", {
        client,
        params: { name: "echo", arguments: { who } },
        onRequest: async ({ method, params }) => ({ result: { method, asked: params!.message! } }),
      });
    const calls = ["one", "two"].map(ask);
    const answers = () => peer.posted.filter(({ rpc }) => rpc.id === "q");
    await expect.poll(() => answers().length).toBe(2);
    expect(peer.opened).toBe(2);
    for (const { rpc, session } of answers()) {
      const of = waiting.find((one) => one.session === session)!;
      expect(rpc.result).toEqual({ method: "elicitation/create", asked: args(of).who });
      session.say({ id: of.rpc.id, result: { content: [] } });
    }
    expect(await Promise.all(calls)).toMatchObject([{ outcome: "result" }, { outcome: "result" }]);
    expect(peer.posted[0]!.rpc.params!.capabilities).toEqual({ elicitation: {} });
  });
});

describe("ends", () => {
  test("a client that leaves cancels its call", async () => {
    const leaving = new AbortController();
    peer.on = ({ rpc }) => {
      if (rpc.method !== "tools/call") return undefined;
      leaving.abort();
      return "nothing";
    };
    expect(await call({}, { signal: leaving.signal })).toMatchObject({ code: "cancelled" });
    await expect.poll(() => peer.methods().at(-1)).toBe("notifications/cancelled");
    peer.on = undefined;
    expect((await call()).outcome).toBe("result");
    expect(peer.opened).toBe(1);
  });

  test("MC-25 wrong ids, unreadable answers and answers that are none fail their call alone", async () => {
    const bad = [
      { result: 1 },
      { error: { code: "x" } },
      {},
      { result: {}, error: { code: 1, message: "" } },
    ];
    for (const answer of bad) {
      peer.on = ({ rpc }) => (rpc.method === "tools/call" ? answer : undefined);
      expect(await call()).toMatchObject({ outcome: "failed", code: "upstream_protocol" });
    }
    peer.on = ({ rpc, session }) => {
      if (rpc.method !== "tools/call") return undefined;
      session.stream.write(`data: {"jsonrpc":"2.0","id":${rpc.id},"result":{"a":1,"a":2}}\n\n`);
      return "nothing";
    };
    expect(await call()).toMatchObject({ outcome: "failed", code: "upstream_protocol" });
    peer.on = undefined;
    expect((await call()).outcome).toBe("result");
    expect(peer.opened).toBe(1);
  });

  test("the official server-everything answers over HTTP with SSE", async () => {
    const everything = await startEverythingUpstream("sse");
    try {
      await relay.close();
      await outbound.close();
      start([new URL(everything.url).host]);
      const upstream = target({ url: new URL(everything.url) });
      const params = { name: "echo", arguments: { message: "hello" } };
      const relayed = await call({}, { upstream, params });
      expect(relayed).toMatchObject({ result: { content: [{ type: "text", text: "Echo: hello" }] } });
    } finally {
      await everything.close();
    }
  });
});
