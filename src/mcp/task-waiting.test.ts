import { afterEach, describe, expect, test, vi } from "vitest";
import { text } from "../../test/peers/task-jobs.ts";
import { disconnected } from "./pushes.suite.ts";
import { EXTENSION, openTaskBench, said, type TaskBench } from "./tasks.suite.ts";

// How long is waited, for whom, and what becomes of the task when nobody waits any more.

let at: TaskBench;
afterEach(() => at.close());

const patient = { tool_execution_timeout: 1 };
const slow = (seconds: number) => ({ name: "jobs-slow_compute", arguments: { seconds, label: "x" } });
const jobOf = () => at.peer.wire.jobs.values().next().value!.job;

describe.each(["core", "extension"] as const)("a task of the form %s", (form) => {
  test("may outlast the tool's timeout while its client waits for the result", async () => {
    at = await openTaskBench({ form }, patient);
    const session = await at.session();
    const { result } = await at.legacy(session, "tools/call", { ...slow(1.6), task: {} });
    const ended = await at.legacy(session, "tasks/result", { taskId: result.task.taskId });
    expect(said(ended)).toBe("computed x");
    expect(at.peer.calls("tasks/cancel")).toEqual([]);
  });

  test("goes on when who waited for its result has gone; a task is cancelled by that word alone", async () => {
    at = await openTaskBench({ form });
    const session = await at.session();
    const { result } = await at.legacy(session, "tools/call", { ...slow(60), task: {} });
    const { taskId } = result.task;
    const gone = new AbortController();
    const waiting = at.bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "tasks/result", params: { taskId } },
      { authorization: `Bearer ${at.key}`, ...session },
      { signal: gone.signal },
    );
    waiting.catch(() => undefined);
    const looks = form === "core" ? "tasks/result" : "tasks/get";
    await vi.waitFor(() => expect(at.peer.calls(looks)).not.toEqual([]));
    gone.abort();
    if (form === "core")
      await vi.waitFor(() => expect(at.peer.calls("notifications/cancelled")).toHaveLength(1));
    const { result: state } = await at.legacy(session, "tasks/get", { taskId });
    expect(state.status).toBe("working");
    expect(at.peer.calls("tasks/cancel")).toEqual([]);
    expect(jobOf().isOver).toBe(false);
    await at.legacy(session, "tasks/cancel", { taskId });
  });
});

describe("in the stead of a client without tasks", () => {
  test("a task of 2025-11-25 that is not over within the tool's time is cancelled, and the client told", async () => {
    const endless = { name: "endless", description: "", run: () => new Promise<never>(() => {}) };
    at = await openTaskBench({ form: "core", tools: [{ ...endless, taskSupport: "required" }] }, patient);
    const session = await at.session();
    const late = await at.legacy(session, "tools/call", { name: "jobs-endless" });
    expect(late.error.data.code).toBe("upstream_timeout");
    await vi.waitFor(() => expect(at.peer.calls("tasks/cancel")).toHaveLength(1));
  });

  test("a client of 2026-07-28 learns that it needs the extension for what outlasts a call, and only then", async () => {
    const endless = { name: "endless", description: "", run: () => new Promise<never>(() => {}) };
    const brief = { name: "brief", description: "", run: async () => text("done") };
    const required = { taskSupport: "required" } as const;
    at = await openTaskBench(
      {
        form: "core",
        tools: [
          { ...endless, ...required },
          { ...brief, ...required },
        ],
      },
      patient,
    );
    expect(said(await at.modern("tools/call", { name: "jobs-brief" }, {}))).toBe("done");
    const { status, error } = await at.modern("tools/call", { name: "jobs-endless" }, {});
    expect([status, error.code]).toEqual([400, -32021]);
    expect(error.data).toMatchObject({
      code: "upstream_timeout",
      requiredCapabilities: { extensions: { [EXTENSION]: {} } },
    });
    await expect.poll(() => at.peer.calls("tasks/cancel")).toHaveLength(1);
    expect((await at.modern("tools/call", { name: "jobs-endless" })).result.resultType).toBe("task");
  });

  test("a task that its upstream forgot is an error of the call", async () => {
    at = await openTaskBench({ form: "extension" });
    const session = await at.session();
    at.peer.instead.set("tasks/get", () => ({ error: { code: -32602, message: "no such task" } }));
    const { error } = await at.legacy(session, "tools/call", slow(5));
    expect(error).toEqual({ code: -32602, message: "no such task" });
    expect(at.peer.calls("tasks/cancel")).toEqual([]);
    jobOf().cancel();
  });

  test("an account that is taken away meanwhile is said in words", async () => {
    const account = { auth_type: "per_user_oauth", oauth_config: { client_id: "c" } };
    at = await openTaskBench({ form: "extension" }, account);
    const upstream = at.bench.upstreams.get(at.upstreamId);
    const owner = { mode: "vk", id: at.keyId } as const;
    await at.bench.connected(owner, upstream);
    const session = await at.session();
    const called = at.legacy(session, "tools/call", slow(5));
    await vi.waitFor(() => expect(at.peer.calls("tasks/get")).not.toEqual([]));
    await disconnected(at.bench, owner, upstream);
    expect(said(await called)).toContain("jobs needs its account to be connected again.");
    jobOf().cancel();
  });
});

test("a newer client that cannot be asked just now sees the task at work, and is not asked twice at once", async () => {
  at = await openTaskBench({ form: "core" });
  const can = { elicitation: { form: {} }, extensions: { [EXTENSION]: {} } };
  const { result } = await at.modern(
    "tools/call",
    { name: "jobs-confirm_delete", arguments: { filename: "f" } },
    can,
  );
  const { taskId } = result;
  const looks = await Promise.all(Array.from({ length: 5 }, () => at.modern("tasks/get", { taskId }, can)));
  const keys = looks.map(({ result: state }) => Object.keys(state.inputRequests ?? {}).join());
  expect(new Set(keys.filter((key) => key !== "")).size).toBe(1);
  expect(at.peer.calls("tasks/result")).toHaveLength(1);
  jobOf().cancel();
});
