import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Hidden } from "../base/index.ts";
import type { Json } from "./endpoint.suite.ts";
import { openTaskBench, said, type TaskBench } from "./tasks.suite.ts";

// Who may do what with which task: an id is worth something to its owner alone, and as long as the owner may use the tool.

let at: TaskBench;
let taskId: string;
afterEach(() => at.close());

const slow = { name: "jobs-slow_compute", arguments: { seconds: 0.05, label: "x" } };

describe.each(["core", "extension"] as const)("a task of the form %s", (form) => {
  beforeEach(async () => {
    at = await openTaskBench({ form });
    taskId = (await at.modern("tools/call", slow)).result.taskId;
  });

  const everywhere = (id: string, key?: string) =>
    Promise.all([
      at.modern("tasks/get", { taskId: id }, undefined, key),
      at.modern("tasks/update", { taskId: id, inputResponses: {} }, undefined, key),
      at.modern("tasks/cancel", { taskId: id }, undefined, key),
    ]);
  const refused = (replies: Json[]) => {
    for (const { error, status } of replies) expect([status, error?.code]).toEqual([200, -32602]);
    expect(new Set(replies.map(({ error }) => error.message)).size).toBe(1);
  };

  test("state handle hijacking: in other hands it is no task, and its upstream is not asked", async () => {
    const other = await at.bench.key("other", [{ upstreamId: at.upstreamId, tools: ["*"] }]);
    const before = at.peer.heard.length;
    refused(await everywhere(taskId, other.value));
    const session = await at.session({}, "2025-11-25", other.value);
    for (const method of ["tasks/get", "tasks/result", "tasks/cancel"])
      expect((await at.legacy(session, method, { taskId }, other.value)).error.code).toBe(-32602);
    expect(at.peer.heard.length).toBe(before);
    expect((await at.modern("tasks/get", { taskId })).result.taskId).toBe(taskId);
  });

  test("changed in one place, cut, made up, or the upstream's own, it is no id", async () => {
    const own = [...at.peer.wire.jobs.keys()][0]!;
    const flipped = taskId.slice(0, 40) + (taskId[40] === "A" ? "B" : "A") + taskId.slice(41);
    for (const id of [flipped, taskId.slice(0, -4), own, "", "x".repeat(100_000), "é"])
      refused((await everywhere(id)).filter(({ error }) => error?.code !== -32020));
  });

  test("an id stays the same from one answer to the next, and differs from another's", async () => {
    const again = (await at.modern("tasks/get", { taskId })).result.taskId;
    const second = (await at.modern("tools/call", slow)).result.taskId;
    expect([again === taskId, second === taskId]).toEqual([true, false]);
  });

  test("withdrawn access takes the task with it: the tool, the upstream, the upstream itself", async () => {
    const { id, value } = await at.bench.key("two", [
      { upstreamId: at.upstreamId, tools: ["slow_compute", "greet"] },
    ]);
    const mine = (await at.modern("tools/call", slow, undefined, value)).result.taskId;
    expect((await at.modern("tasks/get", { taskId: mine }, undefined, value)).result.taskId).toBe(mine);
    const configs = (tools: string[]) => ({ configs: [{ upstreamId: at.upstreamId, tools }] });
    await at.bench.keys.update(id, configs(["greet"]) as never);
    refused(await everywhere(mine, value));
    await at.bench.keys.update(id, configs(["slow_compute"]) as never);
    expect((await at.modern("tasks/get", { taskId: mine }, undefined, value)).result.taskId).toBe(mine);
    await at.bench.upstreams.delete(at.upstreamId);
    // Nothing with tasks is left, and nothing is offered.
    for (const { error, status } of await everywhere(taskId))
      expect([status, error.code]).toEqual([404, -32601]);
  });

  test("filters of the request narrow tasks as they do tools", async () => {
    const look = (headers: Record<string, string>) =>
      at.bench.modern(
        at.key,
        "tasks/get",
        { taskId },
        { "mcp-name": taskId, ...headers },
        {
          extensions: { "io.modelcontextprotocol/tasks": {} },
        },
      );
    expect((await look({ "x-bf-mcp-include-tools": "jobs-greet" })).body.error.code).toBe(-32602);
    expect((await look({ "x-bf-mcp-include-tools": "jobs-slow_compute" })).body.result.taskId).toBe(taskId);
  });

  test("a task that its upstream no longer knows is as unknown, here too", async () => {
    at.peer.restart();
    const { error } = await at.modern("tasks/get", { taskId });
    expect(error.code).toBe(-32602);
    const session = await at.session();
    expect((await at.legacy(session, "tasks/result", { taskId })).error.code).toBe(-32602);
    expect(said(await at.modern("tools/call", { name: "jobs-greet", arguments: { name: "A" } }))).toBe(
      "Hello, A!",
    );
  });

  test("cancelled while somebody waits for the result, both are told", async () => {
    const session = await at.session();
    const long = { ...slow, arguments: { seconds: 60 } };
    const made = (await at.modern("tools/call", long)).result.taskId;
    const waiting = at.legacy(session, "tasks/result", { taskId: made });
    await expect.poll(() => at.peer.calls(form === "core" ? "tasks/result" : "tasks/get")).not.toEqual([]);
    const cancelled = await at.legacy(session, "tasks/cancel", { taskId: made });
    expect(cancelled.result.status).toBe("cancelled");
    const ended = await waiting;
    expect(ended.error ?? ended.result.isError).toBeTruthy();
  });
});

test.each(["session", "credential"] as const)(
  "a forgotten session takes with it what is bound to the %s",
  async (bind) => {
    at = await openTaskBench({ form: "core", bind });
    taskId = (await at.modern("tools/call", slow)).result.taskId;
    at.peer.forgetSessions();
    const { result, error } = await at.modern("tasks/get", { taskId });
    expect(result?.taskId ?? error.code).toBe(bind === "credential" ? taskId : -32602);
  },
);

test.each(["core", "extension"] as const)(
  "a task of the form %s stays with the account it was made with",
  async (form) => {
    const account = { auth_type: "per_user_oauth", oauth_config: { client_id: "c" } };
    at = await openTaskBench({ form, bind: "credential" }, account);
    const { vault, database, upstreams } = at.bench;
    const upstream = upstreams.get(at.upstreamId);
    const owner = { mode: "vk", id: at.keyId } as const;
    for (const [label, token] of [
      ["home", "at-home"],
      ["work", "at-work"],
    ] as const) {
      const secret = {
        kind: "oauth",
        accessToken: new Hidden(token),
        oauthConfigId: upstream.oauthConfigId!,
      } as const;
      await database.transaction((tx) =>
        vault.put(tx, { owner, upstreamId: upstream.id, account: label, secret }),
      );
    }
    const made = await at.modern("tools/call", { ...slow, name: "jobs-slow_compute__work" });
    const { taskId: id } = made.result;
    const header = { "mcp-name": id, "x-bf-mcp-accounts": "jobs=home" };
    const caps = { extensions: { "io.modelcontextprotocol/tasks": {} } };
    expect(
      (await at.bench.modern(at.key, "tasks/get", { taskId: id }, header, caps)).body.result.taskId,
    ).toBe(id);
    const looks = at.peer.heard.filter(({ message }) => message.method === "tasks/get");
    expect(looks.map(({ headers }) => headers.authorization)).toEqual(["Bearer at-work"]);
  },
);

describe("MC-25 an upstream that says what no client could read", () => {
  const stamps = { createdAt: "2026-01-01T00:00:00Z", lastUpdatedAt: "2026-01-01T00:00:00Z" };
  const task = { taskId: "t", status: "working", ttlMs: 1_000, ...stamps };

  test.each([
    ["an endless id", { ...task, taskId: "t".repeat(2_000) }],
    ["an empty id", { ...task, taskId: "" }],
    ["no id", { ...task, taskId: undefined }],
    ["another status", { ...task, status: "thinking" }],
    ["no time", { ...task, createdAt: 5 }],
  ])("%s is no task", async (_, said) => {
    at = await openTaskBench({ form: "extension" });
    at.peer.instead.set("tools/call", () => ({ result: { resultType: "task", ...said } }));
    const { error } = await at.modern("tools/call", slow);
    expect(error.data.code).toBe("upstream_protocol");
  });

  test.each([
    ["another task", { ...task, taskId: "other" }],
    ["completed, without a result", { status: "completed" }],
    ["a result that is none", { status: "completed", result: { content: 5 } }],
    ["failed, without an error", { status: "failed" }],
    ["questions that are none", { status: "input_required", inputRequests: { a: 1 } }],
    [
      "questions without end",
      {
        status: "input_required",
        inputRequests: Object.fromEntries(
          Array.from({ length: 500 }, (_, n) => [n, { method: "roots/list" }]),
        ),
      },
    ],
    ["a round of a call", { resultType: "input_required", inputRequests: {} }],
  ])("%s", async (_, said) => {
    at = await openTaskBench({ form: "extension" });
    const { result } = await at.modern("tools/call", slow);
    at.peer.instead.set("tasks/get", ({ params }) => ({
      result: { ...task, taskId: params.taskId, ...said },
    }));
    const { error } = await at.modern("tasks/get", { taskId: result.taskId });
    expect(error.data.code).toBe("upstream_protocol");
  });

  test("an id in any script and of any length that is allowed goes there and back", async () => {
    for (const id of ["задача 1", "t".repeat(1_024), '"quoted"\n']) {
      at = await openTaskBench({ form: "extension", idOf: () => id });
      const { result } = await at.modern("tools/call", slow);
      expect(result.taskId).toMatch(/^[A-Za-z0-9_-]+$/);
      const ended = await at.until(() => at.modern("tasks/get", { taskId: result.taskId }), "completed");
      expect(said(ended.result)).toBe("computed x");
      await at.close();
    }
    at = await openTaskBench({ form: "extension" });
  });

  test("a task from a server that was not told of the extension is refused", async () => {
    at = await openTaskBench({ form: "extension" });
    at.peer.instead.set("tools/call", () => ({ result: { resultType: "task", ...task } }));
    const { error } = await at.modern("tools/call", slow, {});
    expect(error.data.code).toBe("upstream_protocol");
  });
});
