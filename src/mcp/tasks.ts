import type { Rules } from "../access/index.ts";
import { isObject } from "./body.ts";
import type { ToolCalls } from "./call-tool.ts";
import type { Target } from "./catalog.ts";
import { CoreTasks } from "./core-tasks.ts";
import { ExtensionTasks } from "./extension-tasks.ts";
import { KeptTasks } from "./kept-tasks.ts";
import type { Mailbox } from "./mailbox.ts";
import type { Offer, Offers } from "./offers.ts";
import type { McpParts } from "./parts.ts";
import { code, Refusal } from "./refusal.ts";
import type { Reply, ServerInfo } from "./reply.ts";
import { TaskIds } from "./task-ids.ts";
import { TaskLists } from "./task-lists.ts";
import type { TaskNewsDesk } from "./task-news.ts";
import { type Remote, type TaskCall, TaskRequests } from "./task-requests.ts";
import { knowsTasks, missingExtension, withTasks } from "./task-support.ts";
import type { ToolCall } from "./tool-call.ts";

/** By the form that the client's revision has. */
const methods = {
  legacy: new Set(["tasks/get", "tasks/result", "tasks/list", "tasks/cancel"]),
  modern: new Set(["tasks/get", "tasks/update", "tasks/cancel"]),
};

export function isTaskMethod(method: string): boolean {
  return methods.legacy.has(method) || methods.modern.has(method);
}

interface TaskParts {
  offers: Offers;
  calls: ToolCalls;
  self: ServerInfo;
  mailbox: Mailbox;
  news: TaskNewsDesk;
}

/** Requests about tasks: which there are for a client, and whose a task is; each form answers in its own words. */
export class Tasks {
  readonly #parts: Pick<McpParts, "access">;
  readonly #offers: Offers;
  readonly #requests: TaskRequests;
  readonly #lists: TaskLists;
  readonly #kept: KeptTasks;
  readonly #core: CoreTasks;
  readonly #extension: ExtensionTasks;

  constructor(parts: McpParts, { offers, calls, self, mailbox, news }: TaskParts) {
    const ids = new TaskIds(parts.seal);
    this.#parts = parts;
    this.#offers = offers;
    this.#requests = new TaskRequests(parts, ids, calls, self, news);
    news.mayHear = ({ caller, headers }, taskId) => this.knows({ caller, headers, params: { taskId } });
    this.#lists = new TaskLists(parts, ids);
    this.#kept = new KeptTasks(parts, this.#requests);
    this.#core = new CoreTasks(parts.world, this.#requests);
    this.#extension = new ExtensionTasks(parts.world, this.#requests, mailbox);
  }

  /** Throws `Refusal`, and `Problem` when the caller has too many requests under way. */
  async call(call: TaskCall): Promise<Reply> {
    const { client, method } = call;
    const rules = await this.#parts.access.rulesFor(call.caller);
    const offer = this.#offers.of(rules);
    if (!isOffered(call, offer, rules)) {
      const status = client.era === "modern" ? 404 : 200;
      throw new Refusal(code.methodNotFound, "This method is not offered here.", { status });
    }
    if (!knowsTasks(client)) throw missingExtension();
    if (method === "tasks/list") return await this.#list(call, offer, rules);
    const known = this.#requests.get(call, rules);
    if (known.form === "kept") return await this.#kept.answer(call, known);
    const task = known as Remote;
    const form = client.era === "modern" ? this.#extension : this.#core;
    switch (method) {
      case "tasks/get":
        return await form.get(call, task);
      case "tasks/cancel":
        return await form.cancel(call, task);
      case "tasks/result":
        return await this.#core.result(call, task);
      default:
        return await this.#extension.update(call, task);
    }
  }

  /** Whether the task is the caller's, and may be used now; its upstream is not asked. */
  async knows(call: Pick<TaskCall, "caller" | "params" | "headers">): Promise<boolean> {
    return this.#requests.find(call, await this.#parts.access.rulesFor(call.caller)) !== undefined;
  }

  async #list(call: TaskCall, { upstreams }: Offer, rules: Rules): Promise<Reply> {
    const ask = (target: Target, { params, ...listing }: ToolCall) =>
      this.#requests.send({ ...listing, params }, target, rules, { method: call.method, params });
    return this.#requests.complete(call, await this.#lists.page(call, upstreams, rules, ask));
  }
}

/** What was announced, and nothing else. */
function isOffered({ client, method }: TaskCall, { upstreams }: Offer, rules: Rules): boolean {
  if (!methods[client.era].has(method)) return false;
  const { tasks, extensions } = withTasks({}, client, upstreams, rules);
  if (client.era === "modern") return extensions !== undefined;
  return isObject(tasks) && (method !== "tasks/list" || tasks.list !== undefined);
}
