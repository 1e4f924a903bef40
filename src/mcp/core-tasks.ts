import type { JsonObject, World } from "../base/index.ts";
import { isObject } from "./body.ts";
import { upstreamError } from "./failures.ts";
import { code, Refusal } from "./refusal.ts";
import type { Reply } from "./reply.ts";
import { type Remote, type TaskCall, type TaskRequests, targetOf } from "./task-requests.ts";
import { endOf, type Stepped } from "./task-step.ts";
import { isOver, taskAs, withRelated } from "./task-words.ts";

/** How long a client that asked to be told the end may wait, in timeouts of the upstream. */
const LONGEST = 10;
/** How long an upstream of the extension may take to have heard a cancellation. */
const CANCELLED_MS = 2_000;

/** What clients of 2025-11-25 do with a task, at an upstream of either form. */
export class CoreTasks {
  readonly #world: World;
  readonly #requests: TaskRequests;

  constructor(world: World, requests: TaskRequests) {
    this.#world = world;
    this.#requests = requests;
  }

  /** 2025-11-25 "Getting Tasks". */
  async get(call: TaskCall, task: Remote): Promise<Reply> {
    const got = await this.#requests.about(call, task)("tasks/get", { taskId: task.own });
    return "reply" in got ? got.reply : this.#requests.complete(call, shown(task, got.result));
  }

  /** 2025-11-25 "Retrieving Task Results": blocks until there is one, as long as its client waits, up to a bound. */
  async result(call: TaskCall, task: Remote): Promise<Reply> {
    const ended = task.form === "core" ? await this.#end(call, task) : await this.#extensionEnd(call, task);
    return "reply" in ended ? ended.reply : this.#requests.complete(call, withRelated(ended.result, task.id));
  }

  /** 2025-11-25 "Task Cancellation": refused for what is over, and what is told is the state after it. */
  async cancel(call: TaskCall, task: Remote): Promise<Reply> {
    const step = this.#requests.about(call, task);
    const params = { taskId: task.own };
    if (task.form === "core") {
      const cancelled = await step("tasks/cancel", params);
      return "reply" in cancelled
        ? cancelled.reply
        : this.#requests.complete(call, shown(task, cancelled.result));
    }
    const before = await step("tasks/get", params);
    if ("reply" in before) return before.reply;
    if (isOver(before.result)) {
      const message = `The task is over already: ${before.result.status}.`;
      throw new Refusal(code.invalidParams, message, { status: 200 });
    }
    const heard = await step("tasks/cancel", params);
    if ("reply" in heard) return heard.reply;
    const waiting = {
      call: { ...call, ask: undefined },
      target: targetOf(task, "tasks/cancel"),
      own: task.own,
    };
    const after = await endOf(step, { ...waiting, world: this.#world, patienceMs: CANCELLED_MS });
    // It may go on all the same; what is said is what it says.
    const state = "result" in after ? after.result : before.result;
    return this.#requests.complete(call, shown(task, state));
  }

  async #end(call: TaskCall, task: Remote): Promise<Stepped> {
    const step = this.#requests.about(call, task);
    const params = { taskId: task.own };
    for (let round = 1; ; round++) {
      const ended = await step("tasks/result", params);
      const isLate = "reply" in ended && "error" in ended.reply && ended.reply.failed === "upstream_timeout";
      if (!isLate || round === LONGEST || call.signal.aborted) return ended;
      // It may take its time as long as it is there.
      const got = await step("tasks/get", params);
      if ("reply" in got) return got;
    }
  }

  async #extensionEnd(call: TaskCall, task: Remote): Promise<Stepped> {
    const { own, upstream } = task;
    const target = targetOf(task, "tasks/result");
    const patienceMs = upstream.timeoutMs * LONGEST;
    const step = this.#requests.about(call, task);
    const ended = await endOf(step, { world: this.#world, call, target, own, patienceMs });
    if ("reply" in ended) return ended;
    const { status, result, error } = ended.result;
    if (status === "completed") return { result: result as JsonObject };
    const told =
      status === "failed"
        ? upstreamError(call.client, this.#requests.self, target, error as never)
        : { error: { code: code.internal, message: "The task was cancelled." } };
    return "result" in told ? { result: told.result } : { reply: told };
  }
}

function shown(task: Remote, state: JsonObject): JsonObject {
  const said = withRelated(state, undefined);
  const core = taskAs("core", task.id, said, task.form);
  return isObject(said._meta) ? { ...core, _meta: said._meta } : core;
}
