import { afterEach, describe, expect, test } from "vitest";
import type { Events } from "../../test/support/events.ts";
import type { Json } from "./endpoint.suite.ts";
import { disconnected, standing } from "./pushes.suite.ts";
import { openTaskBench, RELATED, said, type TaskBench, tasksDeclared } from "./tasks.suite.ts";

// What upstreams tell of tasks after the call was answered, on the standing stream of whoever was given the task.

let at: TaskBench;
const open: Events[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((events) => events.cancel()));
  await at.close();
});

const forever = { name: "jobs-slow_compute", arguments: { seconds: 600 } };
const account = { auth_type: "per_user_oauth", oauth_config: { client_id: "c" } };

interface Ear {
  events: Events;
  session: Record<string, string>;
  key: string;
}

async function ear(key = at.key): Promise<Ear> {
  const stood = await standing(at.bench, key);
  open.push(stood.events);
  return { ...stood, key };
}

/** A task of this client's, as it calls it, and as the upstream does. */
async function given({ session, key }: Ear, token: unknown = "mine", call: Json = forever) {
  const params = {
    ...call,
    task: { ttl: 60_000 },
    ...(token !== undefined && { _meta: { progressToken: token } }),
  };
  const { result } = await at.legacy(session, "tools/call", params, key);
  return { id: result.task.taskId as string, own: at.peer.made.at(-1)! };
}

function statusOf(own: { taskId: string }, status: string, more: Json = {}): Json {
  const at = "2026-01-01T00:00:00Z";
  return { taskId: own.taskId, status, createdAt: at, lastUpdatedAt: at, ttl: 60_000, ...more };
}

describe("2025-11-25 on both sides", () => {
  test("progress comes under the client's token, status under the client's id, each naming the task", async () => {
    at = await openTaskBench({ form: "core" });
    const one = await ear();
    const { id, own } = await given(one);
    expect(own.token).not.toBe("mine");
    at.peer.progress(own, 0.5);
    const { method, params } = await one.events.next();
    expect(method).toBe("notifications/progress");
    expect(params).toEqual({ progressToken: "mine", progress: 0.5, _meta: { [RELATED]: { taskId: id } } });
    at.peer.say(own.session, "notifications/tasks/status", statusOf(own, "input_required"));
    expect((await one.events.next()).params).toEqual(statusOf({ taskId: id }, "input_required"));
    expect(one.events.raw).not.toContain(own.taskId);
  });

  test("nobody else hears it, in a session that everybody shares, nor of a task that was never given", async () => {
    at = await openTaskBench({ form: "core" });
    const other = await at.bench.key("other", [{ upstreamId: at.upstreamId, tools: ["*"] }]);
    const [one, two] = [await ear(), await ear(other.value)];
    const mine = await given(one, "a");
    const theirs = await given(two, "a");
    expect(theirs.own.session).toBe(mine.own.session);
    expect(theirs.own.token).not.toBe(mine.own.token);
    at.peer.progress({ ...mine.own, token: "a" }, 9);
    at.peer.say(mine.own.session, "notifications/tasks/status", statusOf({ taskId: "nobody's" }, "working"));
    at.peer.say(mine.own.session, "notifications/message", { level: "error", data: "somebody's" });
    at.peer.progress(mine.own, 1);
    at.peer.progress(theirs.own, 2);
    expect((await one.events.next()).params.progress).toBe(1);
    expect((await two.events.next()).params.progress).toBe(2);
    expect(one.events.raw + two.events.raw).not.toMatch(/nobody's|somebody's|"progress":9/);
  });

  test("MC-39 of a thousand at once a few are told, the first and the last for certain", async () => {
    at = await openTaskBench({ form: "core" });
    const one = await ear();
    const { own } = await given(one);
    for (let progress = 1; progress <= 1_000; progress++) at.peer.progress(own, progress);
    const told: number[] = [];
    while (told.at(-1) !== 1_000) told.push((await one.events.next()).params.progress);
    expect(told[0]).toBe(1);
    expect(told.length).toBeLessThan(30);
  });

  test("no state is told twice, and nothing after the end", async () => {
    at = await openTaskBench({ form: "core" });
    const one = await ear();
    const { own } = await given(one);
    const next = await given(one, "next");
    const status = (state: Json) => at.peer.say(own.session, "notifications/tasks/status", state);
    status(statusOf(own, "working"));
    expect((await one.events.next()).params.status).toBe("working");
    // By the time the second progress is told, the moment in which the same state waits is over.
    status(statusOf(own, "working"));
    at.peer.progress(own, 1);
    at.peer.progress(own, 2);
    expect((await one.events.next()).params.progress).toBe(1);
    expect((await one.events.next()).params.progress).toBe(2);
    status({ ...statusOf(own, "completed"), status: 7 });
    status(statusOf(own, "completed"));
    expect((await one.events.next()).params.status).toBe("completed");
    at.peer.progress(own, 3);
    status(statusOf(own, "working"));
    at.peer.progress(next.own, 4);
    expect((await one.events.next()).params).toMatchObject({ progressToken: "next", progress: 4 });
  });

  test("what its client has seen the end of is over as well", async () => {
    at = await openTaskBench({ form: "core" });
    const one = await ear();
    const { id, own } = await given(one);
    const next = await given(one, "next");
    expect((await at.legacy(one.session, "tasks/cancel", { taskId: id })).result.status).toBe("cancelled");
    at.peer.progress(own, 1);
    at.peer.progress(next.own, 2);
    expect((await one.events.next()).params.progress).toBe(2);
  });

  test("who may not use the tool any more hears no more of its task", async () => {
    at = await openTaskBench({ form: "core" });
    const one = await ear();
    const { own } = await given(one);
    const next = await given(one, "next", { name: "jobs-confirm_delete", arguments: { filename: "f" } });
    const configs = [{ upstreamId: at.upstreamId, tools: ["confirm_delete"] }];
    await at.bench.keys.update(at.keyId, { configs });
    at.peer.progress(own, 1);
    at.peer.progress(next.own, 2);
    let told: Json;
    do told = await one.events.next();
    while (told.method !== "notifications/progress");
    expect(told.params).toMatchObject({ progressToken: "next", progress: 2 });
  });

  test("a revoked account ends the stream toward the upstream, a revoked key the client's", async () => {
    at = await openTaskBench({ form: "core", bind: "credential" }, account);
    const upstream = at.bench.upstreams.get(at.upstreamId);
    const owner = { mode: "vk", id: at.keyId } as const;
    await at.bench.connected(owner, upstream);
    const one = await ear();
    const { own } = await given(one);
    at.peer.progress(own, 1);
    expect((await one.events.next()).params.progress).toBe(1);
    await disconnected(at.bench, owner, upstream);
    await expect.poll(() => at.peer.streams.size).toBe(0);
    await at.bench.keys.update(at.keyId, { isActive: false });
    const rest = await one.events.rest();
    expect(rest.filter(({ method }) => method === "notifications/progress")).toEqual([]);
  });

  test("on the stream of whoever waits for the result, progress stays there", async () => {
    at = await openTaskBench({ form: "core" });
    const one = await ear();
    const { id, own } = await given(one, 7, {
      name: "jobs-slow_compute",
      arguments: { seconds: 0.3, label: "x" },
    });
    const waiting = at.bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "tasks/result", params: { taskId: id } },
      { authorization: `Bearer ${at.key}`, ...one.session },
    );
    await expect.poll(() => at.peer.waiting.has("tasks/result")).toBe(true);
    const params = { progressToken: own.token, progress: 1 };
    at.peer.sayOn("tasks/result", { method: "notifications/progress", params });
    at.peer.sayOn("tasks/result", {
      method: "notifications/progress",
      params: { progressToken: "made-up", progress: 2 },
    });
    const text = await (await waiting).text();
    const messages = [...text.matchAll(/^data: (.+)$/gm)].map(([, data]) => JSON.parse(data!));
    expect(messages.map(({ params, result }) => params ?? said(result))).toEqual([
      { progressToken: 7, progress: 1, _meta: { [RELATED]: { taskId: id } } },
      "computed x",
    ]);
  });
});

describe("a client that waits for a task in its call", () => {
  test("hears progress of it under the token of the call", async () => {
    at = await openTaskBench({ form: "core" });
    const session = await at.session({}, "2025-06-18");
    const params = { name: "jobs-failing_job", _meta: { progressToken: "p" } };
    const reply = at.bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "tools/call", params },
      { authorization: `Bearer ${at.key}`, ...session },
    );
    await expect.poll(() => at.peer.waiting.has("tasks/result")).toBe(true);
    at.peer.progress(at.peer.made[0]!, 1);
    const text = await (await reply).text();
    expect(text).toContain('"params":{"progressToken":"p","progress":1}');
    expect(text).toContain("it did not work");
  });
});

describe("across the eras", () => {
  test("a client of 2025-11-25 hears the status that an upstream of 2026-07-28 tells, once, and no progress", async () => {
    at = await openTaskBench({ form: "extension" });
    const one = await ear();
    const { id, own } = await given(one);
    await expect.poll(() => at.peer.listening.size).toBe(1);
    const detailed = (status: string, more: Json = {}) => {
      const { ttl: ttlMs, ...state } = statusOf(own, status);
      return { ...state, ttlMs, pollIntervalMs: 50, ...more };
    };
    at.peer.tellTask(detailed("input_required", { inputRequests: {} }));
    const { method, params } = await one.events.next();
    expect(method).toBe("notifications/tasks/status");
    expect(params).toEqual({ ...statusOf({ taskId: id }, "input_required"), pollInterval: 50 });
    const result = { content: [], isError: true };
    at.peer.tellTask(detailed("completed", { result }));
    expect((await one.events.next()).params.status).toBe("failed");
    // It is over: the upstream is left alone.
    await expect.poll(() => at.peer.listening.size).toBe(0);
  });

  test("a client of 2026-07-28 hears no progress of a task, which that revision does not have", async () => {
    at = await openTaskBench({ form: "core" });
    const _meta = { progressToken: "mine" };
    const { result } = await at.modern("tools/call", { ...forever, _meta }, tasksDeclared);
    expect(result.resultType).toBe("task");
    expect(at.peer.streams.size).toBe(0);
  });
});
