import { decide, type Rules } from "../access/index.ts";
import type { JsonObject } from "../base/index.ts";
import type { Notification, TaskForm } from "../relay/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { isObject } from "./body.ts";
import type { ToolCalls } from "./call-tool.ts";
import type { Target } from "./catalog.ts";
import { readFilters } from "./filters.ts";
import type { McpParts } from "./parts.ts";
import { ProgressTokens } from "./progress-tokens.ts";
import { code, Refusal } from "./refusal.ts";
import { complete, type Reply, type ServerInfo } from "./reply.ts";
import { selfAt } from "./self.ts";
import type { TaskIds, TaskRef } from "./task-ids.ts";
import type { TaskNewsDesk } from "./task-news.ts";
import type { Step, Stepped } from "./task-step.ts";
import { usesEverything } from "./task-support.ts";
import { isOver, taskAs, withRelated } from "./task-words.ts";
import type { ToolCall } from "./tool-call.ts";

/** One request about tasks, of a proved caller. */
export interface TaskCall extends ToolCall {
  method: string;
  /** Not the first look on behalf of one who asked once. */
  again?: boolean;
}

/** A task of the caller's, at an upstream that it may use now. */
export interface Known extends TaskRef {
  /** As the client calls it. */
  id: string;
  upstream: Upstream;
  rules: Rules;
}

/** One that its upstream has. */
export type Remote = Known & { form: TaskForm };

/** Finds tasks by our ids, and sends requests about them to their upstreams on the way of every call. */
export class TaskRequests {
  readonly self: ServerInfo;
  readonly #parts: Pick<McpParts, "audit" | "upstreams">;
  readonly #ids: TaskIds;
  readonly #calls: ToolCalls;
  readonly #tokens: ProgressTokens;
  readonly #news: TaskNewsDesk;

  constructor(
    parts: Pick<McpParts, "audit" | "upstreams" | "seal">,
    ids: TaskIds,
    calls: ToolCalls,
    self: ServerInfo,
    news: TaskNewsDesk,
  ) {
    this.#tokens = new ProgressTokens(parts.seal);
    this.#news = news;
    this.#parts = parts;
    this.#ids = ids;
    this.#calls = calls;
    this.self = self;
  }

  /** Access is decided anew, of the tool that the task is a call of. Throws `Refusal` -32602, one for whatever is wrong (ID-30). */
  get(call: TaskCall, rules: Rules): Known {
    const { caller, method, params, requestId } = call;
    if (typeof params.taskId !== "string")
      throw new Refusal(code.invalidParams, 'Send "taskId" as a string.', { status: 200 });
    const task = this.find(call, rules);
    if (task) return task;
    const { actor, owner } = caller;
    this.#parts.audit.note({ event: "call.denied", actor, owner, requestId, detail: { method } });
    throw unknownTask();
  }

  /** The same, undefined where that throws. No upstream is asked. */
  find(
    { caller, params, headers }: Pick<TaskCall, "caller" | "params" | "headers">,
    rules: Rules,
  ): Known | undefined {
    const task = this.#ids.open(caller, params.taskId);
    const upstream = task && this.#parts.upstreams.find(task.upstreamId);
    if (!task || !upstream) return undefined;
    const { tool } = task;
    const filters = readFilters(headers);
    const mayUse =
      tool === undefined
        ? usesEverything(upstream, rules) && filters.allowUpstream(upstream)
        : decide(rules, upstream, tool) && filters.allow({ name: `${upstream.name}-${tool}`, upstream });
    return mayUse ? { ...task, id: params.taskId as string, upstream, rules } : undefined;
  }

  /** Requests about one task; what they carry for the upstream beside their own parameters is what the client sent. */
  about(call: TaskCall, task: Remote): Step {
    const { _meta } = call.params;
    let again = call.again === true;
    return async (method, params) => {
      const target = targetOf(task, method);
      if (method === "tasks/get") {
        target.about!.again = again;
        again = true;
      }
      const sent = { method, params: _meta === undefined ? params : { ...params, _meta } };
      const stepped = await this.send(heardFor(call, task, this.#tokens), target, task.rules, sent);
      if (isEnd(method, stepped)) this.#news.over(task.id, call.client);
      return stepped;
    };
  }

  /** The upstream's result is taken as it came. */
  async send(
    call: ToolCall,
    target: Target,
    rules: Rules,
    sent: { method: string; params: JsonObject },
  ): Promise<Stepped> {
    let result: JsonObject | undefined;
    const taken: Target = {
      ...target,
      sent: () => sent.params,
      received: (came) => {
        result = came;
        return {};
      },
    };
    const reply = await this.#calls.carry({ ...call, params: sent.params }, taken, undefined, rules);
    if (result) return { result };
    if ("result" in reply) return { reply: notConnected(target, reply.result) };
    const told = reply.failed === undefined && reply.problem === undefined;
    return told ? { reply: renamed(reply, target, sent.method), told } : { reply };
  }

  complete({ client, caller }: ToolCall, result: JsonObject): Reply {
    return { result: complete(client, selfAt(this.self, caller), result) };
  }
}

export function targetOf(task: Known, method: string): Target {
  const { upstream, tool = "", own, id, session, account } = task;
  const about = { own, id, session };
  return { name: `${method} ${id}`, upstream, tool, paramHeaders: [], account, method, about };
}

/** Whether no more is to be heard of a task after this. */
function isEnd(method: string, stepped: Stepped): boolean {
  if ("reply" in stepped) return stepped.told === true && method === "tasks/result";
  return method === "tasks/result" || isOver(stepped.result);
}

/**
 * `notifications/tasks/status` under the id, and progress under the token that its client knows; about another task it is not
 * for this stream. 2026-07-28 has neither (SEP-2663).
 */
function heardFor(call: TaskCall, task: Known, tokens: ProgressTokens): TaskCall {
  const { caller, client, onNotification } = call;
  if (!onNotification) return call;
  const hear = (notification: Notification) => {
    const { method, params, isOfTask } = notification;
    if (isOfTask) {
      const token = client.era === "legacy" ? tokens.open(caller, params?.progressToken) : undefined;
      if (token === undefined) return;
      return onNotification({ method, params: withRelated({ ...params, progressToken: token }, task.id) });
    }
    if (method !== "notifications/tasks/status") return onNotification(notification);
    if (client.era === "modern" || params?.taskId !== task.own) return;
    return onNotification({ ...notification, params: taskAs("core", task.id, params, "core") });
  };
  return { ...call, onNotification: hear };
}

/** An upstream's error about a task: in our id, and where it knows none, or nothing of tasks any more, as for any unknown one. */
function renamed(reply: Extract<Reply, { error: unknown }>, { about }: Target, method: string): Reply {
  if (about?.own === undefined || about.id === undefined) return reply;
  const { error } = reply;
  const isGone =
    method !== "tasks/result" &&
    (error.code === code.methodNotFound || (error.code === code.invalidParams && method === "tasks/get"));
  if (isGone) return { error: { code: code.invalidParams, message: unknownTask().message } };
  return { ...reply, error: { ...error, message: error.message.replaceAll(about.own, about.id) } };
}

/** Questions are for calls of tools (2026-07-28 MRTR); here the link is told as an error. */
function notConnected({ upstream }: Target, { _meta }: JsonObject): Reply {
  const required = isObject(_meta) ? _meta.mcp_auth_required : undefined;
  const message = `${upstream.name} needs its account to be connected again. Call one of its tools to be asked.`;
  const data = isObject(required) ? { code: "mcp_auth_required", mcp_auth_required: required } : undefined;
  return { error: { code: code.internal, message, ...(data && { data }) } };
}

export function unknownTask(): Refusal {
  const message =
    "This task is not known here, or not any more. Call the tool again if its result is needed.";
  return new Refusal(code.invalidParams, message, { status: 200 });
}
