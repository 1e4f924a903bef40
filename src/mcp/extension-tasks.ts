import type { JsonObject, World } from "../base/index.ts";
import { isObject } from "./body.ts";
import { upstreamError } from "./failures.ts";
import type { Mailbox } from "./mailbox.ts";
import { code, Refusal } from "./refusal.ts";
import { complete, type Reply } from "./reply.ts";
import { TaskQuestions } from "./task-questions.ts";
import { type Remote, type TaskCall, type TaskRequests, targetOf } from "./task-requests.ts";
import type { Stepped } from "./task-step.ts";
import { cancelsCoreTasks } from "./task-support.ts";
import { taskAs, withRelated } from "./task-words.ts";
import { inputRequestsFor } from "./upstream-input.ts";

type RpcError = Parameters<typeof upstreamError>[3];

/** What clients of 2026-07-28 do with a task (SEP-2663), at an upstream of either form. */
export class ExtensionTasks {
  readonly #requests: TaskRequests;
  readonly #questions: TaskQuestions;

  constructor(world: World, requests: TaskRequests, mailbox: Mailbox) {
    this.#requests = requests;
    this.#questions = new TaskQuestions(world, mailbox);
  }

  /** "Task Polling": the task with what belongs to its status. */
  async get(call: TaskCall, task: Remote): Promise<Reply> {
    const { form } = task;
    const got = await this.#requests.about(call, task)("tasks/get", { taskId: task.own });
    if ("reply" in got) return got.reply;
    const said = withRelated(got.result, undefined);
    const state: JsonObject = taskAs("extension", task.id, said, form);
    if (isObject(said._meta)) state._meta = said._meta;
    if (form === "core") return await this.#ofCore(call, task, state);
    if (state.status === "input_required")
      state.inputRequests = inputRequestsFor(
        call.client,
        task.upstream.name,
        said.inputRequests as JsonObject,
      );
    if (state.status === "completed") state.result = this.#nested(call, said.result as JsonObject);
    if (state.status === "failed") return this.#failed(call, task, state, said.error as unknown as RpcError);
    return this.#requests.complete(call, state);
  }

  /** "Task Update Requests". */
  async update(call: TaskCall, task: Remote): Promise<Reply> {
    const { inputResponses } = call.params;
    if (!isObject(inputResponses))
      throw new Refusal(code.invalidParams, 'Send "inputResponses" as an object.', { status: 200 });
    const step = this.#requests.about(call, task);
    const heard =
      task.form === "core"
        ? await step("tasks/get", { taskId: task.own })
        : await step("tasks/update", { taskId: task.own, inputResponses });
    if ("reply" in heard) return heard.reply;
    if (task.form === "core") await this.#questions.answer(call.caller, task, inputResponses);
    return this.#requests.complete(call, {});
  }

  /** "Task Cancellation": what is asked for is heard; whether it happens is the upstream's business. */
  async cancel(call: TaskCall, task: Remote): Promise<Reply> {
    const step = this.#requests.about(call, task);
    const params = { taskId: task.own };
    if (task.form === "extension" || cancelsCoreTasks(task.upstream)) {
      const cancelled = await step("tasks/cancel", params);
      if ("result" in cancelled) return this.#requests.complete(call, {});
      if (task.form === "extension" || !cancelled.told) return cancelled.reply;
    }
    // 2025-11-25 refuses to cancel what is over, the extension does not: only a task that is none is an error.
    const got = await step("tasks/get", params);
    return "reply" in got ? got.reply : this.#requests.complete(call, {});
  }

  /** An older upstream tells the end, and what it wants to know, to those who wait for the result. */
  async #ofCore(call: TaskCall, task: Remote, state: JsonObject): Promise<Reply> {
    const result = (asking: TaskCall): Promise<Stepped> =>
      this.#requests.about(asking, task)("tasks/result", { taskId: task.own });
    if (state.status === "input_required") {
      const open = await this.#questions.of(call, task, result);
      // Nothing to ask here: another replica does, or the answer is on its way.
      if (open) state.inputRequests = open;
      else state.status = "working";
    }
    if (state.status !== "completed" && state.status !== "failed")
      return this.#requests.complete(call, state);
    const ended = await result(call);
    if ("result" in ended) {
      // A result that says so is no failure of the task.
      const completed = { ...state, status: "completed", result: this.#nested(call, ended.result) };
      return this.#requests.complete(call, completed);
    }
    if (!ended.told || !("error" in ended.reply)) return ended.reply;
    return this.#failed(call, task, { ...state, status: "failed" }, ended.reply.error as RpcError);
  }

  #failed(call: TaskCall, task: Remote, state: JsonObject, error: RpcError): Reply {
    const told = upstreamError(call.client, this.#requests.self, targetOf(task, "tasks/get"), error);
    if ("result" in told)
      return this.#requests.complete(call, { ...state, status: "completed", result: told.result });
    const { code: number, message, data } = told.error;
    const shown: JsonObject = { code: number, message };
    if (data !== undefined) shown.data = data as JsonObject;
    return this.#requests.complete(call, { ...state, error: shown });
  }

  /** A result within another: the outer one says the rest. */
  #nested({ client }: TaskCall, result: JsonObject): JsonObject {
    const plain = withRelated(result, undefined);
    const { _meta, ...nested } = complete({ ...client, era: "legacy" }, this.#requests.self, plain);
    if (result.structuredContent !== undefined) nested.structuredContent = result.structuredContent;
    return isObject(_meta) && Object.keys(_meta).length > 0 ? { ...nested, _meta } : nested;
  }
}
