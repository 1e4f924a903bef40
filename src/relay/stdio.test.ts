import { existsSync, readlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { watchedLog } from "../../test/support/leavings.ts";
import {
  Hidden,
  type JsonObject,
  type Log,
  type Outbound,
  openOutbound,
  systemWorld,
} from "../base/index.ts";
import type { StdioCommand } from "../upstreams/index.ts";
import { type Notification, Relay, type RelayCall, type RelayUpstream } from "./index.ts";
import { OpenedAttempt } from "./opened-attempt.ts";
import { Patience } from "./patience.ts";
import { StdioUpstreams } from "./stdio.ts";

const script = fileURLToPath(new URL("../../test/peers/program.ts", import.meta.url));
const everything = fileURLToPath(
  import.meta.resolve("@modelcontextprotocol/server-everything/dist/index.js"),
);

let outbound: Outbound;
let relay: Relay;
let eras: string[];
let logged: { event: string; fields: JsonObject }[];
let now: number;
const commands = new Map<string, StdioCommand>();

beforeEach(() => {
  outbound = openOutbound({ allow: { admin: [], stranger: [] } });
  eras = [];
  logged = [];
  now = 1_000_000_000_000;
  commands.clear();
  const note = (event: string, fields?: object) =>
    void logged.push({ event, fields: (fields ?? {}) as JsonObject });
  const log: Log = { debug: note, info: note, warn: note, error: note, child: () => log };
  relay = new Relay({
    world: { ...systemWorld({ outbound, log }), now: () => new Date(now) },
    version: "1.2.3",
    upstreams: { recordEra: async (_id, era) => void eras.push(era) },
    commands,
    vault: {
      open: async () => ({ outcome: "needs_user", reason: "missing" }),
      openWarm: () => undefined,
      markRejected: async () => {},
    },
  });
});

afterEach(async () => {
  await relay.close();
  await outbound.close();
  for (const pid of pids()) expect(existsSync(`/proc/${pid}`), `process ${pid}`).toBe(false);
});

const pids = () => events("upstream.program_started").map(({ pid }) => Number(pid));
const events = (name: string) => logged.filter(({ event }) => event === name).map(({ fields }) => fields);

/** Declares a program and returns the upstream that is it. */
function program(
  flags: string[] = ["legacy"],
  more: Partial<StdioCommand> & Partial<RelayUpstream> = {},
): RelayUpstream {
  const { command = process.execPath, args, env = {}, secrets = [], ...rest } = more;
  const name = `program_${commands.size}`;
  const given = args ?? [script, ...flags].map((arg) => new Hidden(arg));
  commands.set(name, { command, args: given, env, secrets });
  return {
    id: `up_${name}`,
    name,
    url: new URL("stdio:node"),
    connectionType: "stdio",
    perUser: false,
    headers: {},
    generation: 1,
    timeoutMs: 25_000,
    ...rest,
  };
}

function call(upstream: RelayUpstream, name = "echo", args: JsonObject = {}, more: Partial<RelayCall> = {}) {
  return relay.call({
    upstream,
    method: "tools/call",
    params: { name, arguments: args },
    client: { era: "modern", capabilities: {} },
    signal: new AbortController().signal,
    ...more,
  });
}

async function said(upstream: RelayUpstream, name: string, args: JsonObject = {}) {
  const relayed = await call(upstream, name, args);
  if (relayed.outcome !== "result") throw new Error(JSON.stringify(relayed));
  const [block] = relayed.result.content as { text: string }[];
  return JSON.parse(block!.text);
}

const lost = { outcome: "failed", code: "upstream_unreachable", retryable: false };

describe("eras", () => {
  test("an older program is asked, initialized once and remembered; unknown fields pass", async () => {
    const upstream = program(["legacy"]);
    const first = await call(upstream, "echo", { a: 1 });
    expect(first).toMatchObject({ outcome: "result", result: { "x-unknown": 1 } });
    await call(upstream);
    expect(eras).toEqual(["legacy"]);
    expect(pids()).toHaveLength(1);
    expect((await relay.listTools(upstream))[0]).toMatchObject({ name: "echo", "x-unknown": [1] });
  });

  test("a modern program is spoken to with `_meta` of this hop", async () => {
    const upstream = program(["modern"]);
    const { params } = await said(upstream, "echo");
    expect(params._meta).toEqual({
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientCapabilities": {},
      "io.modelcontextprotocol/clientInfo": { name: "postern", version: "1.2.3" },
    });
    expect(eras).toEqual(["modern"]);
  });

  test("a program that ends at the first question is started again for `initialize`", async () => {
    const upstream = program(["legacy", "exit-on-probe"]);
    expect((await call(upstream)).outcome).toBe("result");
    expect(pids()).toHaveLength(2);
    expect(eras).toEqual(["legacy"]);
  });

  test("a program that says nothing to the first question is started again for `initialize`", async () => {
    const upstream = program(["legacy", "silent-on-probe"]);
    const learned: string[] = [];
    let lastId = 0;
    const stdio = new StdioUpstreams({
      world: { ...systemWorld({ outbound, log: watchedLog() }) },
      self: { name: "postern", version: "1" },
      commands,
      nextId: () => ++lastId,
      learn: (_, era) => void learned.push(era),
      probeMs: 1_500,
    });
    const { signal } = new AbortController();
    const patience = new Patience(signal, 20_000);
    try {
      const asked: RelayCall = {
        upstream,
        method: "tools/list",
        params: {},
        client: { era: "modern", capabilities: {} },
        signal,
      };
      const attempt = new OpenedAttempt(asked, { outcome: "ready" });
      expect((await stdio.call(attempt, patience)).outcome).toBe("result");
      expect(learned).toEqual(["legacy"]);
    } finally {
      patience.stop();
      await stdio.close();
    }
  });

  test("one known to be older is not asked, and found out when it was replaced", async () => {
    expect((await call(program(["legacy", "exit-on-probe"], { era: "legacy" }))).outcome).toBe("result");
    expect(pids()).toHaveLength(1);
    expect((await call(program(["modern"], { era: "legacy" }))).outcome).toBe("result");
    expect(eras).toEqual(["modern"]);
  });

  test("a server of 2024-11-05 is understood", async () => {
    expect((await call(program(["legacy", "2024"]))).outcome).toBe("result");
  });

  test("the official server-everything answers over stdio", async () => {
    const args = [everything, "stdio"].map((arg) => new Hidden(arg));
    const upstream = program([], { args });
    const relayed = await call(upstream, "echo", { message: "hello" });
    expect(relayed).toMatchObject({ result: { content: [{ type: "text", text: "Echo: hello" }] } });
    expect((await relay.listTools(upstream)).map(({ name }) => name)).toContain("get-sum");
  });
});

describe("many calls on one process", () => {
  test("MC-16 answers and progress reach the call they belong to, messages for nobody reach nobody", async () => {
    const upstream = program();
    const heard: Record<string, Notification[]> = {};
    const calls = ["a", "b", "c"].map((who, index) => {
      heard[who] = [];
      const params = {
        name: "progress",
        arguments: { who, ms: 60 - 20 * index },
        _meta: { progressToken: who },
      };
      return call(upstream, "", {}, { params, onNotification: (note) => void heard[who]!.push(note) });
    });
    const answers = await Promise.all(calls);
    expect(answers).toMatchObject(["a", "b", "c"].map((text) => ({ result: { content: [{ text }] } })));
    for (const who of ["a", "b", "c"])
      expect(heard[who]).toEqual([
        { method: "notifications/progress", params: { progressToken: who, progress: 1, message: who } },
      ]);
    expect(pids()).toHaveLength(1);
  });

  test("a client that leaves cancels its own call alone", async () => {
    const upstream = program();
    const leaving = new AbortController();
    const hanging = call(upstream, "hang", {}, { signal: leaving.signal });
    await call(upstream);
    leaving.abort();
    expect(await hanging).toMatchObject({ code: "cancelled" });
    expect(await said(upstream, "cancelled")).toEqual(["cancelled"]);
    expect(pids()).toHaveLength(1);
  });

  test("a call that takes too long is cancelled, and a program that still answers is kept", async () => {
    const upstream = program();
    await call(upstream);
    expect(await call({ ...upstream, timeoutMs: 100 }, "hang")).toMatchObject({ code: "upstream_timeout" });
    expect(await said(upstream, "cancelled")).toEqual(["upstream_timeout"]);
    expect(pids()).toHaveLength(1);
  });

  test("`ping` is answered, what nobody can answer is refused, answers to nothing are ignored", async () => {
    const asked = await said(program(), "ask");
    expect(asked).toEqual([
      { jsonrpc: "2.0", id: "s1", result: {} },
      { jsonrpc: "2.0", id: "s2", error: { code: -32601, message: "Method not found" } },
    ]);
  });

  test("what a program prints beside messages does no harm", async () => {
    expect((await call(program(["legacy", "greeting"]))).outcome).toBe("result");
  });
});

describe("supervision", () => {
  test("ST-14 a program gets the named variables, a folder of its own and nothing else", async () => {
    process.env.POSTERN_TEST_MARK = "MARK";
    const env = { PATH: new Hidden("/usr/bin"), API_TOKEN: new Hidden("tok-123456") };
    const upstream = program(["legacy", "$(touch tripwire)", ";id"], { env, secrets: ["API_TOKEN"] });
    const seen = await said(upstream, "environment");
    delete process.env.POSTERN_TEST_MARK;
    expect(seen.env).toEqual({ PATH: "/usr/bin", API_TOKEN: "tok-123456" });
    expect(seen.args).toEqual(["$(touch tripwire)", ";id"]);
    expect(seen.cwd).not.toBe(process.cwd());
    expect(existsSync(seen.cwd)).toBe(true);
    const [pid] = pids();
    const open = [0, 1, 2].map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    for (const target of open) expect(target).toMatch(/^(socket|pipe):/);
    await relay.close();
    expect(existsSync(seen.cwd)).toBe(false);
  });

  test("AV-16 a crash fails the calls under way, which are not repeated; the next call starts it again", async () => {
    const upstream = program();
    const hanging = call(upstream, "hang");
    expect(await call(upstream, "crash")).toEqual(lost);
    expect(await hanging).toEqual(lost);
    expect((await call(upstream)).outcome).toBe("result");
    expect(pids()).toHaveLength(2);
  });

  test("one that keeps ending is started with growing pauses, in which calls fail at once", async () => {
    const upstream = program(["legacy", "exit"]);
    const attempts = async (count: number) => {
      const before = pids().length;
      for (let index = 0; index < count; index++)
        expect(await call(upstream, "echo", {}, { insists: true })).toMatchObject({
          outcome: "failed",
          code: "upstream_unreachable",
        });
      return pids().length - before;
    };
    const perTry = await attempts(1);
    expect(perTry).toBeGreaterThan(0);
    expect(await attempts(1)).toBe(perTry);
    expect(await attempts(5)).toBe(0);
    now += 1_000;
    expect(await attempts(3)).toBe(perTry);
    now += 1_000;
    expect(await attempts(1)).toBe(0);
    now += 1_000;
    expect(await attempts(1)).toBe(perTry);
  });

  test("one that cannot be started fails its calls and nobody else's", async () => {
    const missing = program([], { command: "/nonexistent/program" });
    expect(await call(missing)).toMatchObject({ outcome: "failed", code: "upstream_unreachable" });
    await expect(relay.listTools(missing)).rejects.toMatchObject({ code: "upstream_unreachable" });
    expect(events("upstream.program_ended")[0]).toMatchObject({ reason: "ENOENT" });
    const unknown = { ...program(), name: "not_in_the_file" };
    expect(await call(unknown)).toMatchObject({ code: "upstream_unreachable", retryable: true });
  });

  test("a program that hangs is replaced, and others do not wait for it", async () => {
    const [hung, other] = [program(), program()];
    await Promise.all([call(hung), call(other)]);
    const hanging = call({ ...hung, timeoutMs: 300 }, "hang", { busy: true });
    expect((await call(other)).outcome).toBe("result");
    expect(await hanging).toMatchObject({ code: "upstream_timeout" });
    await expect.poll(() => events("upstream.program_ended").length, { timeout: 15_000 }).toBe(1);
    expect((await call(hung)).outcome).toBe("result");
  });

  test.each([
    ["one endless line", {}, "upstream_too_large"],
    ["endless lines", { lines: true }, "upstream_too_large"],
  ])("MC-25 %s end the program, not the gateway", async (_, args, code) => {
    const [flooding, other] = [program(), program()];
    await Promise.all([call(flooding), call(other)]);
    const flooded = call(flooding, "flood", args);
    expect((await call(other)).outcome).toBe("result");
    expect(await flooded).toMatchObject({ outcome: "failed", code });
    expect((await call(flooding)).outcome).toBe("result");
  });

  test("closing ends a program that ignores SIGTERM and the end of its input", async () => {
    await call(program(["legacy", "ignore-sigterm", "ignore-end"]));
    await relay.close();
    expect(existsSync(`/proc/${pids()[0]}`)).toBe(false);
  });

  test("its standard error is logged line by line without secrets", async () => {
    const env = { API_TOKEN: new Hidden("tok-123456") };
    await call(program(["legacy", "stderr"], { env, secrets: ["API_TOKEN"] }));
    await expect.poll(() => events("upstream.stderr").length).toBe(2);
    expect(events("upstream.stderr").map(({ line }) => line)).toEqual(["token is [hidden]", "[hidden]"]);
    expect(JSON.stringify(logged)).not.toContain("tok-123456");
  });
});
