import type { Rules } from "../access/index.ts";
import type { JsonObject } from "../base/index.ts";
import type { Relayed } from "../relay/index.ts";
import { isObject } from "./body.ts";
import type { Target } from "./catalog.ts";
import { extraHeaders } from "./extra-headers.ts";
import { failureReply, upstreamError } from "./failures.ts";
import { FinishedTasks } from "./finished-tasks.ts";
import { mayUse } from "./offers.ts";
import type { McpParts } from "./parts.ts";
import { ProgressTokens } from "./progress-tokens.ts";
import { code, Refusal } from "./refusal.ts";
import { complete, type NotificationSink, type Reply, type ServerInfo, toolFailure } from "./reply.ts";
import { selfAt } from "./self.ts";
import { TaskIds } from "./task-ids.ts";
import type { TaskNewsDesk } from "./task-news.ts";
import { endOf, lasting, type Step, type Stepped } from "./task-step.ts";
import { knowsTasks, listsTasks, makesTasks, missingExtension, taskWay } from "./task-support.ts";
import { isOver, relatedId, taskAs, withRelated } from "./task-words.ts";
import type { ToolCall } from "./tool-call.ts";
import { askClient } from "./upstream-asks.ts";

type Made = Extract<Relayed, { outcome: "result" }>;

/** Says of a request that reached an upstream what came of it. */
export type Report = (target: Target, relayed: Relayed, durationMs: number) => void;

interface NewTask {
  call: ToolCall;
  entry: Target;
  made: Made;
  report: Report;
}

/** What is told of a task that a waiting call was made of, when its client cannot wait any longer. */
const CANCEL_MS = 5_000;

/** How a request goes to its upstream. */
interface Prepared {
  params: JsonObject;
  /** A task may come of it, or it is about tasks. */
  tasks: boolean;
  /** An older client reads nothing but a task. */
  wanted: boolean;
  /** What the upstream tells of the task later has somebody to hear it. */
  follows?: boolean;
  progressToken?: string;
}

/** Whether a result is a task, or has to be made one. */
export function becomesTask({ wanted }: Prepared, { task, result }: Made): boolean {
  return task !== undefined || (wanted && result.resultType !== "input_required");
}

/** Whether `prepare` has anything to do. */
export function speaksOfTasks({ tasks }: Target, params: JsonObject): boolean {
  return tasks !== undefined || params.task !== undefined || relatedId(params) !== undefined;
}

/** Calls of tools that became tasks: given to clients that know tasks, waited for in the stead of others. */
export class NewTasks {
  readonly #parts: Pick<McpParts, "world" | "relay" | "seal" | "upstreams">;
  readonly #finished: FinishedTasks;
  readonly #ids: TaskIds;
  readonly #tokens: ProgressTokens;
  readonly #news: TaskNewsDesk;
  readonly #self: ServerInfo;

  constructor(
    parts: Pick<McpParts, "world" | "relay" | "seal" | "upstreams" | "database">,
    self: ServerInfo,
    news: TaskNewsDesk,
  ) {
    this.#parts = parts;
    this.#finished = new FinishedTasks(parts);
    this.#ids = new TaskIds(parts.seal);
    this.#tokens = new ProgressTokens(parts.seal);
    this.#news = news;
    this.#self = self;
  }

  /**
   * The parameters of a request as far as they speak of tasks in the upstream's words, and whether a task may come of it.
   * Throws `Refusal` -32601 when an older client wants a task of a tool that makes none.
   */
  prepare(call: ToolCall, entry: Target, named: JsonObject, rules: Rules): Prepared {
    const params = relatedId(named) === undefined ? named : this.#related(call, entry, named);
    // No other method knows the word.
    if (entry.method !== undefined || (entry.tasks === undefined && params.task === undefined))
      return { params, tasks: entry.about !== undefined, wanted: false };
    const { client } = call;
    const asked =
      client.era === "legacy" && knowsTasks(client) && isObject(params.task) ? params.task : undefined;
    if (taskWay(client, call.params, entry) === undefined) {
      // 2025-11-25 "Tool-Level Negotiation": where tasks were declared to the client at all; else the word is ignored.
      if (asked && this.#announced(rules))
        throw new Refusal(code.methodNotFound, "This tool makes no tasks. Call it without.", { status: 200 });
      return { params, tasks: false, wanted: false };
    }
    const { task: _, ...plain } = params;
    const sent = entry.tasks === "directed" ? plain : { ...plain, task: asked ?? {} };
    return { params: sent, tasks: true, wanted: asked !== undefined, ...this.#heard(call, entry, asked) };
  }

  /** Who hears what an older upstream tells of the task: the session that asked for it, or the call that waits for it. */
  #heard(call: ToolCall, { tasks }: Target, asked: JsonObject | undefined): Partial<Prepared> {
    const { caller, client, onNotification } = call;
    const isGiven = asked !== undefined && client.session !== undefined;
    const isAwaited = onNotification !== undefined && taskWay(client, call.params, { tasks }) === "awaited";
    if (tasks === "directed" || !(isGiven || isAwaited)) return {};
    const progressToken = this.#tokens.of(caller, tokenIn(call.params));
    return { follows: isGiven || progressToken !== undefined, progressToken };
  }

  /** Whether a client with these rules was told of tasks. */
  #announced(rules: Rules): boolean {
    return this.#parts.upstreams.all().some((upstream) => makesTasks(upstream) && mayUse(rules, upstream));
  }

  /** The client's word for a task, in the upstream's; of another upstream, or nobody's, it is not passed on. */
  #related(call: ToolCall, { upstream, about }: Target, params: JsonObject): JsonObject {
    // "Receivers MUST ignore such metadata" where the parameters name the task.
    const task = about ? undefined : this.#ids.open(call.caller, relatedId(params));
    return withRelated(params, task?.upstreamId === upstream.id ? task.own : undefined);
  }

  async answer(call: ToolCall, entry: Target, made: Made, rules: Rules, report: Report): Promise<Reply> {
    const task: NewTask = { call, entry, made, report };
    if (made.task === undefined) return await this.#kept(task);
    return taskWay(call.client, call.params, entry) === "given"
      ? this.#given(task, rules)
      : await this.#awaited(task);
  }

  /** It was over at once, which such a client has no word for: it is given a task that is. */
  async #kept({ call, entry, made }: NewTask): Promise<Reply> {
    const { caller, client, params } = call;
    const { upstream, tool } = entry;
    const plain = complete(client, this.#self, withRelated(made.result, undefined));
    const ttl = isObject(params.task) ? params.task.ttl : undefined;
    const kept = await this.#finished.keep(caller, plain, ttl);
    // What cannot be kept is still the answer; better read by some than lost to all.
    if (!kept) return { result: plain };
    const id = this.#ids.of(caller, { upstreamId: upstream.id, own: kept.own, form: "kept", tool });
    return { result: { task: taskAs("core", id, kept.task, "core") } };
  }

  #follow({ call, entry, made }: Omit<NewTask, "report">, id: string, state: JsonObject): void {
    const { caller, client, params } = call;
    const ttl = made.task === "core" ? state.ttl : state.ttlMs;
    const own = state.taskId as string;
    const given = {
      caller,
      client,
      id,
      own,
      token: tokenIn(params),
      ttl: typeof ttl === "number" ? ttl : undefined,
    };
    const { upstream } = entry;
    if (made.task === "core") this.#news.follow(given, made.news);
    else if (!isOver(state)) {
      const owner = upstream.perUser ? caller.owner : undefined;
      this.#news.watch(given, upstream, owner, made.account ?? entry.account);
    }
  }

  #given({ call, entry, made }: NewTask, rules: Rules): Reply {
    const { caller, client } = call;
    const form = made.task!;
    const { upstream, tool } = entry;
    const state = stateOf(made);
    const id = this.#ids.of(caller, {
      upstreamId: upstream.id,
      own: state.taskId as string,
      form,
      account: made.account ?? entry.account,
      session: made.session,
      // What a list of its upstream's tasks would call it.
      tool: listsTasks(upstream, rules) ? undefined : tool,
    });
    const { _meta } = withRelated(made.result, undefined);
    const said: JsonObject = isObject(_meta) ? { _meta } : {};
    if (client.era === "legacy") {
      this.#follow({ call, entry, made }, id, state);
      const task = { task: taskAs("core", id, state, form), ...said };
      return { result: complete(client, this.#self, task) };
    }
    const task = { ...taskAs("extension", id, state, form), ...said };
    return { result: { ...complete(client, selfAt(this.#self, caller), task), resultType: "task" } };
  }

  async #awaited(task: NewTask): Promise<Reply> {
    const { call, entry, made } = task;
    const own = stateOf(made).taskId as string;
    // On the standing stream, or on that of whoever waits for the result: the call is still open for it.
    const hear = this.#translated(call);
    made.news?.hear(hear ?? (() => {}));
    const step: Step = (method, params) => this.#step(task, method, params);
    const waiting =
      made.task === "core"
        ? step("tasks/result", { taskId: own })
        : endOf(step, {
            world: this.#parts.world,
            call,
            target: entry,
            own,
            patienceMs: entry.upstream.timeoutMs,
          });
    const ended = await waiting.finally(() => made.news?.stop());
    if ("reply" in ended) {
      if (!ended.told) this.#leave(task, own);
      return unable(call, entry, ended.reply);
    }
    return made.task === "core" ? this.#complete(task, ended.result) : this.#end(task, ended.result);
  }

  /** Progress of a task that is waited for, as that of the call; the word for a task is not for a client that has none. */
  #translated({ caller, onNotification }: ToolCall): NotificationSink | undefined {
    if (!onNotification) return undefined;
    return ({ method, params, isOfTask }) => {
      if (method === "notifications/tasks/status") return undefined;
      const token = this.#tokens.open(caller, params?.progressToken);
      if (token === undefined) return isOfTask ? undefined : onNotification({ method, params });
      const said = withRelated({ ...params, progressToken: token }, undefined);
      return onNotification({ method, params: said });
    };
  }

  /** How a task of the extension ended, as the answer that the call would have had. */
  #end(task: NewTask, { status, result, error }: JsonObject): Reply {
    const { call, entry } = task;
    if (status === "completed") return this.#complete(task, result as JsonObject);
    if (status === "failed") {
      const told = error as unknown as Parameters<typeof upstreamError>[3];
      return upstreamError(call.client, this.#self, entry, told);
    }
    return toolFailure(call.client, this.#self, `${entry.upstream.name} cancelled the call.`);
  }

  #complete({ call }: NewTask, result: JsonObject): Reply {
    return { result: complete(call.client, selfAt(this.#self, call.caller), withRelated(result, undefined)) };
  }

  async #step(task: NewTask, method: string, params: JsonObject): Promise<Stepped> {
    const { call, entry } = task;
    const { client } = call;
    const started = performance.now();
    const relayed = await this.#send(task, method, params, call);
    // Looking is not reported each time: the call is.
    if (method !== "tasks/get") task.report({ ...entry, method }, relayed, performance.now() - started);
    switch (relayed.outcome) {
      case "result":
        return { result: relayed.result };
      case "error":
        return { reply: upstreamError(client, this.#self, entry, relayed.error), told: true };
      case "failed":
        return { reply: failureReply(entry, relayed, call.requestId) };
      case "needs_user": {
        const text = `${entry.upstream.name} needs its account to be connected again. Call the tool once more to be asked.`;
        return { reply: toolFailure(client, this.#self, text) };
      }
    }
  }

  #send({ call, entry, made }: NewTask, method: string, params: JsonObject, heard: Partial<ToolCall>) {
    const { upstream } = entry;
    return this.#parts.relay.call({
      owner: upstream.perUser ? call.caller.owner : undefined,
      vouched: call.caller.vouched,
      account: made.account ?? entry.account,
      // Where many share a connection, what it asks is answered only by one who is alone in it.
      caller: call.caller.binding,
      upstream,
      method,
      params,
      client: call.client,
      tasks: true,
      session: made.session,
      extraHeaders: extraHeaders(upstream.allowedExtraHeaders, call.headers),
      signal: heard.signal ?? lasting(),
      onNotification: heard.onNotification && this.#translated(call),
      onRequest: heard.ask && ((request) => askClient(call, entry, request)),
    });
  }

  /** Nobody will ask for it any more: its upstream is told, in the words for tasks, without being waited for. */
  #leave(task: NewTask, own: string): void {
    const departure = new AbortController();
    const late = setTimeout(() => departure.abort(), CANCEL_MS).unref();
    const started = performance.now();
    this.#send(task, "tasks/cancel", { taskId: own }, { signal: departure.signal })
      .then((relayed) =>
        task.report({ ...task.entry, method: "tasks/cancel" }, relayed, performance.now() - started),
      )
      .catch((error) => this.#parts.world.log.warn("mcp.task_not_cancelled", { error }))
      .finally(() => clearTimeout(late));
  }
}

/**
 * SEP-2663 "Capability Negotiation": a server that is unable to serve a request without a task, whose client did not declare
 * the extension, MUST say so. That is a newer client's call which outlasted the time of calls.
 */
function unable({ client }: ToolCall, { upstream }: Target, reply: Reply): Reply {
  if (client.era === "legacy" || !("error" in reply) || reply.failed !== "upstream_timeout") return reply;
  const said = missingExtension();
  const message = `${upstream.name} takes longer over this than a call may. ${said.message}`;
  const data = { ...(reply.error.data as JsonObject), ...(said.data as JsonObject) };
  return { ...reply, error: { code: said.code, message, data }, status: said.status };
}

function stateOf({ task, result }: Made): JsonObject {
  return task === "core" ? (result.task as JsonObject) : result;
}

/** What the client calls the progress of its request by. */
function tokenIn({ _meta }: JsonObject): string | number | undefined {
  const token = isObject(_meta) ? _meta.progressToken : undefined;
  return typeof token === "string" || typeof token === "number" ? token : undefined;
}

/** The word for a task is not for a client that was not given one. */
export function withoutStatus(sink: NotificationSink | undefined): NotificationSink | undefined {
  return (
    sink &&
    ((notification) =>
      notification.method === "notifications/tasks/status" ? undefined : sink(notification))
  );
}
