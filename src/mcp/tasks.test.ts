import { afterEach, describe, expect, test } from "vitest";
import { META } from "./endpoint.suite.ts";
import { EXTENSION, openTaskBench, RELATED, said, type TaskBench } from "./tasks.suite.ts";

// Each form by itself: the client and the upstream are of one era.

let at: TaskBench;
afterEach(() => at.close());

const slow = { name: "jobs-slow_compute", arguments: { seconds: 0.1, label: "x" } };

describe("2026-07-28, the tasks extension", () => {
  test("a task is given under an id of ours, looked at, and ends with the tool's result", async () => {
    at = await openTaskBench({ form: "extension" });
    const { result } = await at.modern("tools/call", slow);
    const own = [...at.peer.wire.jobs.keys()][0]!;
    expect(result).toMatchObject({
      resultType: "task",
      status: "working",
      ttlMs: 60_000,
      pollIntervalMs: 50,
    });
    expect(result._meta[`${META}serverInfo`].name).toBe("postern");
    expect(result.taskId).not.toContain(own);
    const ended = await at.until(() => at.modern("tasks/get", { taskId: result.taskId }), "completed");
    expect(ended).toMatchObject({ resultType: "complete", taskId: result.taskId });
    expect(said(ended.result)).toBe("computed x");
    // Toward the upstream: its own id, in body and header, and the extension declared.
    const look = at.peer.heard.find(({ message }) => message.method === "tasks/get")!;
    expect(look.message.params.taskId).toBe(own);
    expect(look.headers["mcp-name"]).toBe(own);
    expect(look.message.params._meta[`${META}clientCapabilities`].extensions).toEqual({ [EXTENSION]: {} });
  });

  test("the extension is announced, and asked for -32021 where it is not declared", async () => {
    at = await openTaskBench({ form: "extension" });
    const { result } = await at.modern("server/discover");
    expect(result.capabilities.extensions).toEqual({ [EXTENSION]: {} });
    expect(result.capabilities.tasks).toBeUndefined();
    for (const method of ["tasks/get", "tasks/update", "tasks/cancel"]) {
      const { error, status } = await at.modern(method, { taskId: "x", inputResponses: {} }, {});
      expect([status, error.code]).toEqual([400, -32021]);
      expect(error.data.requiredCapabilities).toEqual({ extensions: { [EXTENSION]: {} } });
    }
    for (const method of ["tasks/result", "tasks/list"]) {
      const { error, status } = await at.modern(method, { taskId: "x" });
      expect([status, error.code]).toEqual([404, -32601]);
    }
  });

  test("what a client did not declare is not offered in its name: the upstream answers at once, or refuses", async () => {
    at = await openTaskBench({ form: "extension" });
    expect(said(await at.modern("tools/call", slow, {}))).toBe("computed x");
    const { error, status } = await at.modern("tools/call", { name: "jobs-failing_job" }, {});
    expect([status, error.code]).toEqual([400, -32021]);
    expect(at.peer.wire.jobs.size).toBe(0);
  });

  test("Mcp-Name is the task's id", async () => {
    at = await openTaskBench({ form: "extension" });
    const { result } = await at.modern("tools/call", slow);
    const { taskId } = result;
    const other = { "mcp-name": "another" };
    const { status, body } = await at.bench.modern(at.key, "tasks/get", { taskId }, other, {
      extensions: { [EXTENSION]: {} },
    });
    expect([status, body.error.code]).toEqual([400, -32020]);
  });

  test("questions go to the client under the upstream's name, as far as it can answer, and answers back", async () => {
    at = await openTaskBench({ form: "extension" });
    const can = { elicitation: { form: {} }, extensions: { [EXTENSION]: {} } };
    const { result } = await at.modern("tools/call", { name: "jobs-multi_input" }, can);
    const { taskId } = result;
    const look = () => at.modern("tasks/get", { taskId }, can);
    const asked = await at.until(look, "input_required");
    const [first, second] = Object.entries(asked.inputRequests) as [
      string,
      { params: { message: string } },
    ][];
    expect(first![1].params.message).toBe("[jobs] First name?");
    const mute = (await at.modern("tasks/get", { taskId })).result;
    expect(mute).toMatchObject({ status: "input_required", inputRequests: {} });
    const answer = (key: string, name: string) =>
      at.modern(
        "tasks/update",
        { taskId, inputResponses: { [key]: { action: "accept", content: { name } } } },
        can,
      );
    const { result: heard } = await answer(first![0], "Ann");
    expect(Object.keys(heard).sort()).toEqual(["_meta", "resultType"]);
    expect(Object.keys((await look()).result.inputRequests)).toEqual([second![0]]);
    await answer(second![0], "Bob");
    expect(said((await at.until(look, "completed")).result)).toBe("Ann and Bob");
  });

  test("errors of a tool are a result, errors of a request a failed task", async () => {
    at = await openTaskBench({ form: "extension" });
    const end = async (name: string, status: string) => {
      const { result } = await at.modern("tools/call", { name });
      return at.until(() => at.modern("tasks/get", { taskId: result.taskId }), status);
    };
    expect((await end("jobs-failing_job", "completed")).result.isError).toBe(true);
    const failed = await end("jobs-protocol_error_job", "failed");
    expect(failed.error).toEqual({ code: -32603, message: "the job broke" });
    expect(failed.result).toBeUndefined();
  });

  test("cancelling is heard, also when the task is over, and refused for one that is none", async () => {
    at = await openTaskBench({ form: "extension" });
    const { result } = await at.modern("tools/call", { ...slow, arguments: { seconds: 60 } });
    const { taskId } = result;
    for (let times = 0; times < 2; times++) {
      const { result: heard } = await at.modern("tasks/cancel", { taskId });
      expect(Object.keys(heard).sort()).toEqual(["_meta", "resultType"]);
    }
    expect((await at.modern("tasks/get", { taskId })).result.status).toBe("cancelled");
    const { error, status } = await at.modern("tasks/cancel", { taskId: "none" });
    expect([status, error.code]).toEqual([200, -32602]);
  });

  test("questions before there is a task are rounds of the call, and leave nothing in it", async () => {
    at = await openTaskBench({ form: "extension" });
    const can = { elicitation: { form: {} }, extensions: { [EXTENSION]: {} } };
    const call = { name: "jobs-test_tool_with_task", arguments: {} };
    const { result: round } = await at.modern("tools/call", call, can);
    expect(round.resultType).toBe("input_required");
    const inputResponses = { it: { action: "accept", content: { name: "Alice" } } };
    const again = { ...call, inputResponses, requestState: round.requestState };
    const { result } = await at.modern("tools/call", again, can);
    expect(result.resultType).toBe("task");
    expect(result).not.toHaveProperty("requestState");
    const ended = await at.until(() => at.modern("tasks/get", { taskId: result.taskId }, can), "completed");
    expect(said(ended.result)).toBe("computed for Alice");
  });
});

describe("2025-11-25, tasks in the core", () => {
  const asked = { ...slow, task: { ttl: 30_000 } };

  test("a task is made when it is asked for, kept under our id, and its result waited for", async () => {
    at = await openTaskBench({ form: "core" });
    const session = await at.session();
    const { result } = await at.legacy(session, "tools/call", asked);
    const own = [...at.peer.wire.jobs.keys()][0]!;
    expect(result.task).toMatchObject({ status: "working", ttl: 30_000, pollInterval: 50 });
    expect(result.task.taskId).not.toContain(own);
    const { taskId } = result.task;
    expect((await at.legacy(session, "tasks/get", { taskId })).result).toMatchObject({ taskId, ttl: 30_000 });
    const ended = await at.legacy(session, "tasks/result", { taskId });
    expect(said(ended)).toBe("computed x");
    expect(ended.result._meta[RELATED]).toEqual({ taskId });
    expect(at.peer.calls("tasks/result")[0]!.params.taskId).toBe(own);
    expect((await at.legacy(session, "tasks/get", { taskId })).result.status).toBe("completed");
  });

  test("what the upstream declares is announced, to clients of the one revision that has it", async () => {
    at = await openTaskBench({ form: "core" });
    const capabilities = async (protocolVersion: string) => {
      const asking = { protocolVersion, capabilities: {}, clientInfo: { name: "c", version: "1" } };
      return (await at.legacy({}, "initialize", asking)).result.capabilities;
    };
    // Tasks of a shared account are not listed.
    expect((await capabilities("2025-11-25")).tasks).toEqual({
      requests: { tools: { call: {} } },
      cancel: {},
    });
    expect((await capabilities("2025-06-18")).tasks).toBeUndefined();
    const session = await at.session();
    const { result } = await at.legacy(session, "tools/list");
    const support = Object.fromEntries(result.tools.map(({ name, execution }: never) => [name, execution]));
    expect(support["jobs-slow_compute"]).toEqual({ taskSupport: "optional" });
    expect(support["jobs-greet"]).toBeUndefined();
    const older = await at.session({}, "2025-06-18");
    expect((await at.legacy(older, "tasks/get", { taskId: "x" })).error.code).toBe(-32601);
    expect((await at.legacy(session, "tasks/list")).error.code).toBe(-32601);
    expect((await at.legacy(session, "tasks/update", { taskId: "x" })).error.code).toBe(-32601);
  });

  test("a tool that makes none refuses, one that may is called without, and an older word is no wish", async () => {
    at = await openTaskBench({ form: "core" });
    const session = await at.session();
    const greet = { name: "jobs-greet", arguments: { name: "Ann" } };
    expect((await at.legacy(session, "tools/call", { ...greet, task: {} })).error.code).toBe(-32601);
    expect(said(await at.legacy(session, "tools/call", slow))).toBe("computed x");
    const older = await at.session({}, "2025-06-18");
    expect(said(await at.legacy(older, "tools/call", asked))).toBe("computed x");
    expect(at.peer.wire.jobs.size).toBe(0);
  });

  test("cancelling is refused once it is over", async () => {
    at = await openTaskBench({ form: "core" });
    const session = await at.session();
    const { result } = await at.legacy(session, "tools/call", { ...asked, arguments: { seconds: 60 } });
    const { taskId } = result.task;
    const cancelled = await at.legacy(session, "tasks/cancel", { taskId });
    expect(cancelled.result).toMatchObject({ taskId, status: "cancelled" });
    const { error } = await at.legacy(session, "tasks/cancel", { taskId });
    expect(error.code).toBe(-32602);
    expect(error.message).toContain(taskId);
    expect(error.message).not.toContain([...at.peer.wire.jobs.keys()][0]);
  });

  test("an error of the call is the answer to those who wait for its result", async () => {
    at = await openTaskBench({ form: "core" });
    const session = await at.session();
    const { result } = await at.legacy(session, "tools/call", { name: "jobs-protocol_error_job", task: {} });
    const { error } = await at.legacy(session, "tasks/result", { taskId: result.task.taskId });
    expect(error).toEqual({ code: -32603, message: "the job broke" });
  });

  test("each request about a task that reaches the upstream leaves a line", async () => {
    at = await openTaskBench({ form: "core" });
    const session = await at.session();
    const { result } = await at.legacy(session, "tools/call", asked);
    const { taskId } = result.task;
    await at.legacy(session, "tasks/get", { taskId });
    await at.legacy(session, "tasks/result", { taskId });
    await at.bench.audit.flush();
    const lines = await at.bench.database.db.selectFrom("audit").selectAll().execute();
    const details = lines.map(({ detail_json }) => JSON.parse(detail_json));
    for (const method of ["tasks/get", "tasks/result"])
      expect(details).toContainEqual({ method, target: "slow_compute", outcome: "result" });
  });
});
