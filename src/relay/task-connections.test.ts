import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SseUpstream } from "../../test/peers/sse-upstream.ts";
import {
  Hidden,
  type JsonObject,
  type Log,
  type Outbound,
  openLog,
  openOutbound,
  systemWorld,
} from "../base/index.ts";
import { type Notification, Relay, type RelayCall, type RelayUpstream } from "./index.ts";

// Tasks of programs and of connections: they are asked about where they were made, and nowhere else.

const script = fileURLToPath(new URL("../../test/peers/task-program.ts", import.meta.url));
let peer: SseUpstream;
let outbound: Outbound;
let relay: Relay;
let pids: number[];
let generation: number;

beforeEach(async () => {
  peer = await SseUpstream.start();
  pids = [];
  generation = 1;
  outbound = openOutbound({ allow: { admin: [new URL(peer.url).host], stranger: [] } });
  const quiet = openLog("silent");
  const note: Log["info"] = (event, fields) => {
    if (event === "upstream.program_started") pids.push(Number((fields as { pid: number }).pid));
  };
  const args = [script, "core"].map((arg) => new Hidden(arg));
  relay = new Relay({
    world: systemWorld({ outbound, log: { ...quiet, info: note, warn: () => {} } }),
    version: "1.2.3",
    upstreams: { recordEra: async () => {} },
    commands: new Map([["jobs", { command: process.execPath, args, env: {}, secrets: [] }]]),
    vault: {
      open: async () => ({
        outcome: "ready",
        credential: { id: "cred", generation } as never,
        authorize: () => {},
      }),
      openWarm: () => undefined,
      markRejected: async () => {},
    },
  });
});
afterEach(async () => {
  await relay.close();
  await outbound.close();
  await peer.close();
});

function target(more: Partial<RelayUpstream>): RelayUpstream {
  const url = new URL("stdio:node");
  return {
    id: "up",
    name: "jobs",
    url,
    perUser: false,
    headers: {},
    generation: 1,
    timeoutMs: 5_000,
    ...more,
  };
}

async function send(
  upstream: RelayUpstream,
  method: string,
  params: JsonObject,
  more: Partial<RelayCall> = {},
) {
  const client = { era: "legacy", capabilities: {} } as const;
  const { signal } = new AbortController();
  const relayed = await relay.call({ upstream, method, params, client, signal, tasks: true, ...more });
  if (relayed.outcome !== "result" && relayed.outcome !== "error") throw new Error(relayed.outcome);
  return relayed;
}

test("a program that was started anew is not asked about a task of the one before", async () => {
  const program = target({ connectionType: "stdio" });
  const told: Notification[] = [];
  const params = { name: "slow_compute", arguments: { seconds: 600 }, task: {}, _meta: { progressToken: 1 } };
  const made = await send(program, "tools/call", params, { followsTask: true, progressToken: "sealed" });
  if (made.outcome !== "result") throw new Error("no task");
  made.news!.hear((news) => void told.push(news));
  await expect.poll(() => told.length).toBeGreaterThan(0);
  expect(told[0]).toEqual({
    method: "notifications/progress",
    params: { progressToken: "sealed", progress: 1 },
  });
  const { taskId } = made.result.task as { taskId: string };
  const look = () => send(program, "tasks/get", { taskId }, { session: made.session });
  expect(await look()).toMatchObject({ outcome: "result", result: { taskId, status: "working" } });
  const ended = new Promise<void>((resolve) => made.news!.whenEnded(resolve));
  process.kill(pids[0]!);
  await ended;
  expect(await look()).toEqual({ outcome: "error", error: { code: -32602, message: "Task not found" } });
  // Nothing was started for that; a call starts it.
  expect(pids).toHaveLength(1);
  await send(program, "tools/call", { name: "greet", arguments: { name: "Ann" } });
  expect(pids).toHaveLength(2);
  expect(await look()).toMatchObject({ error: { message: "Task not found" } });
});

test("a task of a connection is asked about on it, as long as the credential is the same", async () => {
  const stamps = { createdAt: "2026-01-01T00:00:00Z", lastUpdatedAt: "2026-01-01T00:00:00Z", ttl: null };
  peer.on = ({ rpc, session }) => {
    const task = { taskId: `of-${session.id}`, status: "working", ...stamps };
    if (rpc.method === "tools/call") return { result: { task } };
    if (rpc.method !== "tasks/get") return undefined;
    return rpc.params?.taskId === task.taskId
      ? { result: task }
      : { error: { code: -32602, message: `unknown on ${session.id}` } };
  };
  const owner = { mode: "user", id: "ann" } as const;
  const old = target({ connectionType: "sse", url: new URL(peer.url), perUser: true });
  const asked = { owner, onRequest: async () => ({ result: {} }) };
  const call = (more: Partial<RelayCall>) => send(old, "tools/call", { name: "t", task: {} }, more);
  const [one, two] = await Promise.all([call(asked), call(asked)]);
  for (const made of [one, two]) {
    if (made.outcome !== "result") throw new Error("no task");
    const { taskId } = made.result.task as { taskId: string };
    const look = (more: Partial<RelayCall>) =>
      send(old, "tasks/get", { taskId }, { ...more, session: made.session });
    expect(await look({ owner })).toMatchObject({ result: { taskId } });
    expect(await look(asked)).toMatchObject({ result: { taskId } });
    expect(await look({ owner: { mode: "user", id: "bob" } })).toMatchObject({ outcome: "error" });
  }
  generation = 2;
  if (one.outcome !== "result") throw new Error("no task");
  const { taskId } = one.result.task as { taskId: string };
  const before = peer.opened;
  expect(await send(old, "tasks/get", { taskId }, { owner, session: one.session })).toMatchObject({
    outcome: "error",
  });
  expect(peer.opened).toBe(before + 1);
});
