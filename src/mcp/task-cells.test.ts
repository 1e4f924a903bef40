import { afterEach, describe, expect, test } from "vitest";
import type { Json } from "./endpoint.suite.ts";
import { META } from "./endpoint.suite.ts";
import { EXTENSION, openTaskBench, RELATED, said, type TaskBench } from "./tasks.suite.ts";

// The cells of the bridge where client and upstream are of different eras, or the client knows no tasks at all.

let at: TaskBench;
afterEach(() => at.close());

const slow = { name: "jobs-slow_compute", arguments: { seconds: 0.1, label: "x" } };
const asking = { elicitation: { form: {} } };

describe("a client of 2026-07-28, an upstream of 2025-11-25", () => {
  const can = { ...asking, extensions: { [EXTENSION]: {} } };

  test("declared, a tool that may or must becomes a task, in the words of the extension", async () => {
    at = await openTaskBench({ form: "core" });
    const { result: discovered } = await at.modern("server/discover");
    expect(discovered.capabilities.extensions).toEqual({ [EXTENSION]: {} });
    expect(discovered.capabilities.tasks).toBeUndefined();
    const { result } = await at.modern("tools/call", slow);
    expect(result).toMatchObject({
      resultType: "task",
      status: "working",
      ttlMs: 60_000,
      pollIntervalMs: 50,
    });
    expect(result).not.toHaveProperty("ttl");
    expect(result).not.toHaveProperty("task");
    const ended = await at.until(() => at.modern("tasks/get", { taskId: result.taskId }), "completed");
    expect(said(ended.result)).toBe("computed x");
    expect(ended.result._meta?.[RELATED]).toBeUndefined();
    expect(said(await at.modern("tools/call", { name: "jobs-greet", arguments: { name: "A" } }))).toBe(
      "Hello, A!",
    );
    const [listed] = (await at.modern("tools/list")).result.tools.filter(
      ({ name }: Json) => name === slow.name,
    );
    expect(listed.execution).toBeUndefined();
  });

  test("a failed tool is a completed task, a failed request a failed one", async () => {
    at = await openTaskBench({ form: "core" });
    const end = async (name: string, status: string) => {
      const { result } = await at.modern("tools/call", { name });
      return at.until(() => at.modern("tasks/get", { taskId: result.taskId }), status);
    };
    expect((await end("jobs-failing_job", "completed")).result.isError).toBe(true);
    expect((await end("jobs-protocol_error_job", "failed")).error.message).toBe("the job broke");
  });

  test("what the upstream asks those who wait for the result is asked when the client looks", async () => {
    at = await openTaskBench({ form: "core" });
    const { result } = await at.modern("tools/call", { name: "jobs-multi_input" }, can);
    const { taskId } = result;
    const look = () => at.modern("tasks/get", { taskId }, can);
    const asked = await at.until(look, "input_required");
    const [first, second] = Object.keys(asked.inputRequests) as [string, string];
    expect(asked.inputRequests[first].params.message).toBe("[jobs] First name?");
    expect(JSON.stringify(asked)).not.toContain([...at.peer.wire.jobs.keys()][0]);
    const answer = (key: string, name: string) =>
      at.modern(
        "tasks/update",
        { taskId, inputResponses: { [key]: { action: "accept", content: { name } } } },
        can,
      );
    const { result: heard } = await answer(first, "Ann");
    expect(heard.resultType).toBe("complete");
    const left = await at.until(async () => {
      const reply = await look();
      const keys = Object.keys(reply.result.inputRequests ?? {});
      return keys.length === 1 ? reply : { result: {} };
    }, "input_required");
    expect(Object.keys(left.inputRequests)).toEqual([second]);
    // Unknown keys, and keys that were answered, are nobody's business.
    await at.modern(
      "tasks/update",
      { taskId, inputResponses: { none: { action: "accept" }, [first]: {} } },
      can,
    );
    await answer(second, "Bob");
    expect(said((await at.until(look, "completed")).result)).toBe("Ann and Bob");
  });

  test("who cannot be asked is not: the upstream hears no", async () => {
    at = await openTaskBench({ form: "core" });
    const { result } = await at.modern("tools/call", {
      name: "jobs-confirm_delete",
      arguments: { filename: "f" },
    });
    const ended = await at.until(() => at.modern("tasks/get", { taskId: result.taskId }), "completed");
    expect(said(ended.result)).toBe("kept f");
  });

  test("without the extension a tool that must be a task is waited for, its questions as rounds of the call", async () => {
    at = await openTaskBench({ form: "core" });
    const call = { name: "jobs-confirm_delete", arguments: { filename: "f" } };
    const { result: round } = await at.modern("tools/call", call, asking);
    expect(round.resultType).toBe("input_required");
    const [key] = Object.keys(round.inputRequests) as [string];
    const inputResponses = { [key]: { action: "accept", content: { confirm: true } } };
    const again = { ...call, inputResponses, requestState: round.requestState };
    const ended = await at.modern("tools/call", again, asking);
    expect(said(ended)).toBe("deleted f");
    expect(ended.result._meta?.[RELATED]).toBeUndefined();
    // One that may be is called without.
    expect(said(await at.modern("tools/call", slow, {}))).toBe("computed x");
    expect(at.peer.calls("tools/call").at(-1)!.params.task).toBeUndefined();
  });

  test("what is asked before there is a task is a round of the call, which then becomes one", async () => {
    at = await openTaskBench({ form: "core" });
    const call = { name: "jobs-test_tool_with_task", arguments: {} };
    const { result: round } = await at.modern("tools/call", call, can);
    expect(round.resultType).toBe("input_required");
    const [key] = Object.keys(round.inputRequests) as [string];
    const inputResponses = { [key]: { action: "accept", content: { name: "Alice" } } };
    const again = { ...call, inputResponses, requestState: round.requestState };
    const { result } = await at.modern("tools/call", again, can);
    expect(result.resultType).toBe("task");
    const ended = await at.until(() => at.modern("tasks/get", { taskId: result.taskId }, can), "completed");
    expect(said(ended.result)).toBe("computed for Alice");
  });

  test("cancelling is heard at an upstream that refuses it for what is over, or does not know it", async () => {
    at = await openTaskBench({ form: "core" });
    const { result } = await at.modern("tools/call", slow);
    const { taskId } = result;
    await at.until(() => at.modern("tasks/get", { taskId }), "completed");
    expect((await at.modern("tasks/cancel", { taskId })).result.resultType).toBe("complete");
    at.peer.restart();
    expect((await at.modern("tasks/cancel", { taskId })).error.code).toBe(-32602);
    await at.close();
    at = await openTaskBench({ form: "core", cancel: false });
    const made = await at.modern("tools/call", slow);
    const cancelled = await at.modern("tasks/cancel", { taskId: made.result.taskId });
    expect(cancelled.result.resultType).toBe("complete");
  });
});

describe("a client before 2026-07-28, an upstream of it", () => {
  test("a task that nobody asked for is waited for", async () => {
    at = await openTaskBench({ form: "extension" });
    for (const version of ["2025-11-25", "2025-06-18"]) {
      const session = await at.session({}, version);
      const ended = await at.legacy(session, "tools/call", slow);
      expect(said(ended)).toBe("computed x");
      expect(ended.result).not.toHaveProperty("resultType");
      expect((await at.legacy(session, "tools/call", { name: "jobs-failing_job" })).result.isError).toBe(
        true,
      );
      const { error } = await at.legacy(session, "tools/call", { name: "jobs-protocol_error_job" });
      expect(error).toEqual({ code: -32603, message: "the job broke" });
    }
    expect(at.peer.calls("tasks/get").length).toBeGreaterThan(0);
  });

  test("its questions are asked on the stream of the call", async () => {
    at = await openTaskBench({ form: "extension" });
    const session = await at.session(asking);
    const reply = at.bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "jobs-multi_input" } },
      { authorization: `Bearer ${at.key}`, ...session },
    );
    expect(said(await answering(reply, session, ["Ann", "Bob"]))).toBe("Ann and Bob");
  });

  test("asked for, it is given in the words of 2025-11-25, questions and all", async () => {
    at = await openTaskBench({ form: "extension" });
    const session = await at.session(asking);
    const { result } = await at.legacy(session, "tools/call", { name: "jobs-multi_input", task: { ttl: 5 } });
    expect(result.task).toMatchObject({
      status: expect.stringMatching(/working|input_required/),
      ttl: 60_000,
    });
    expect(result.task).not.toHaveProperty("ttlMs");
    const { taskId } = result.task;
    await at.until(() => at.legacy(session, "tasks/get", { taskId }), "input_required");
    const reply = at.bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "tasks/result", params: { taskId } },
      { authorization: `Bearer ${at.key}`, ...session },
    );
    const questions: Json[] = [];
    const ended = await answering(reply, session, ["Ann", "Bob"], (question) => questions.push(question));
    expect(said(ended)).toBe("Ann and Bob");
    expect(ended.result._meta[RELATED]).toEqual({ taskId });
    for (const { params } of questions) expect(params._meta[RELATED]).toEqual({ taskId });
    const state = (await at.legacy(session, "tasks/get", { taskId })).result;
    expect(state.status).toBe("completed");
    expect(state).not.toHaveProperty("result");
  });

  test("asked for where the upstream answers at once, it is given as one that is over, for its caller, for a while", async () => {
    at = await openTaskBench({ form: "extension" });
    const session = await at.session();
    const { result: listed } = await at.legacy(session, "tools/list");
    for (const tool of listed.tools) expect(tool.execution).toEqual({ taskSupport: "optional" });
    const greet = { name: "jobs-greet", arguments: { name: "Ann" } };
    const { result } = await at.legacy(session, "tools/call", { ...greet, task: { ttl: 120_000 } });
    const { taskId } = result.task;
    expect(result.task).toMatchObject({ status: "completed", ttl: 120_000 });
    expect((await at.legacy(session, "tasks/get", { taskId })).result).toEqual(result.task);
    const ended = await at.legacy(session, "tasks/result", { taskId });
    expect(said(ended)).toBe("Hello, Ann!");
    expect(ended.result._meta).toEqual({ [RELATED]: { taskId } });
    expect((await at.legacy(session, "tasks/cancel", { taskId })).error.code).toBe(-32602);
    const same = await at.modern("tasks/get", { taskId });
    expect([same.result.status, said(same.result.result)]).toEqual(["completed", "Hello, Ann!"]);
    const other = await at.bench.key("other", [{ upstreamId: at.upstreamId, tools: ["*"] }]);
    const theirs = await at.session({}, "2025-11-25", other.value);
    expect((await at.legacy(theirs, "tasks/result", { taskId }, other.value)).error.code).toBe(-32602);
    at.bench.world.advance(120_000);
    expect((await at.legacy(session, "tasks/result", { taskId })).error.code).toBe(-32602);
  });

  test("a tool's failure makes a failed task, and cancelling answers with the state after it", async () => {
    at = await openTaskBench({ form: "extension" });
    const session = await at.session();
    const failing = await at.legacy(session, "tools/call", { name: "jobs-failing_job", task: {} });
    await at.until(() => at.legacy(session, "tasks/get", { taskId: failing.result.task.taskId }), "failed");
    const long = await at.legacy(session, "tools/call", { ...slow, arguments: { seconds: 60 }, task: {} });
    const { taskId } = long.result.task;
    expect((await at.legacy(session, "tasks/cancel", { taskId })).result).toMatchObject({
      taskId,
      status: "cancelled",
    });
    expect((await at.legacy(session, "tasks/cancel", { taskId })).error.code).toBe(-32602);
    expect((await at.legacy(session, "tasks/result", { taskId })).error.code).toBe(-32603);
  });

  test("a client that goes takes the task it waits for with it", async () => {
    at = await openTaskBench({ form: "extension" });
    const session = await at.session();
    const gone = new AbortController();
    const called = at.bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "tools/call", params: { ...slow, arguments: { seconds: 60 } } },
      { authorization: `Bearer ${at.key}`, ...session },
      { signal: gone.signal },
    );
    called.catch(() => undefined);
    // Until the answer is there, closing the request says it all.
    await expect.poll(() => at.peer.calls("tasks/get")).not.toEqual([]);
    gone.abort();
    await at.peer.wire.jobs.values().next().value!.job.ended;
    expect(at.peer.calls("tasks/cancel")).toHaveLength(1);
  });

  test("a task that is not over within the tool's time is cancelled, and the client told", async () => {
    at = await openTaskBench({ form: "extension" }, { tool_execution_timeout: 1 });
    const session = await at.session();
    const { error } = await at.legacy(session, "tools/call", { ...slow, arguments: { seconds: 60 } });
    expect(error.data.code).toBe("upstream_timeout");
    await at.peer.wire.jobs.values().next().value!.job.ended;
  });
});

describe("a client before 2025-11-25, an upstream of it", () => {
  test("a tool that must be a task is waited for, and its questions are asked in the call", async () => {
    at = await openTaskBench({ form: "core" });
    const session = await at.session(asking, "2025-06-18");
    const reply = at.bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "jobs-multi_input" } },
      { authorization: `Bearer ${at.key}`, ...session },
    );
    const ended = await answering(reply, session, ["Ann", "Bob"]);
    expect(said(ended)).toBe("Ann and Bob");
    expect(ended.result._meta).toBeUndefined();
  });
});

describe("2025-11-25 on both sides", () => {
  test("questions travel on the stream of those who wait, naming the task, each side by its own id", async () => {
    at = await openTaskBench({ form: "core" });
    const session = await at.session(asking);
    const { result } = await at.legacy(session, "tools/call", { name: "jobs-multi_input", task: {} });
    const { taskId } = result.task;
    const reply = at.bench.fetch(
      { jsonrpc: "2.0", id: 1, method: "tasks/result", params: { taskId } },
      { authorization: `Bearer ${at.key}`, ...session },
    );
    const questions: Json[] = [];
    const ended = await answering(reply, session, ["Ann", "Bob"], (question) => questions.push(question));
    expect(said(ended)).toBe("Ann and Bob");
    for (const { params } of questions) expect(params._meta[RELATED]).toEqual({ taskId });
    const own = [...at.peer.wire.jobs.keys()][0];
    const answers = at.peer.heard.map(({ message }) => message).filter(({ method }) => method === undefined);
    for (const { result: told } of answers) expect(told._meta[RELATED]).toEqual({ taskId: own });
  });

  test("a word for a task goes on under the upstream's id, and nobody else's goes on at all", async () => {
    at = await openTaskBench({ form: "core" });
    const session = await at.session();
    const { result } = await at.legacy(session, "tools/call", { ...slow, task: {} });
    const { taskId } = result.task;
    const greet = (id: string) =>
      at.legacy(session, "tools/call", {
        name: "jobs-greet",
        arguments: {},
        _meta: { [RELATED]: { taskId: id }, kept: 1 },
      });
    await greet(taskId);
    await greet("made-up");
    const [known, unknown] = at.peer.calls("tools/call").slice(-2);
    expect(known!.params._meta).toEqual({ [RELATED]: { taskId: [...at.peer.wire.jobs.keys()][0] }, kept: 1 });
    expect(unknown!.params._meta).toEqual({ kept: 1 });
  });
});

test("both forms say who we are, and nothing of the upstream", async () => {
  at = await openTaskBench({ form: "extension" });
  const { result } = await at.modern("tools/call", slow);
  expect(Object.keys(result._meta)).toEqual([`${META}serverInfo`]);
});

/** Reads the stream of an answer, gives names to what asks for them, and resolves with the answer itself. */
async function answering(
  reply: Promise<Response>,
  session: Record<string, string>,
  names: string[],
  asked: (question: Json) => void = () => {},
): Promise<Json> {
  const left = [...names];
  let text = "";
  for await (const chunk of (await reply).body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const events = text.split("\n\n");
    text = events.pop()!;
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: {"));
      if (!data) continue;
      const message: Json = JSON.parse(data.slice(6));
      if (message.method === undefined) return message;
      if (message.id === undefined) continue;
      asked(message);
      const result = { action: "accept", content: { name: left.shift() } };
      await at.bench.fetch(
        { jsonrpc: "2.0", id: message.id, result },
        { authorization: `Bearer ${at.key}`, ...session },
      );
    }
  }
  return JSON.parse(text);
}
