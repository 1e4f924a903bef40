import { Job, type Json, type TaskTool, taskTools, text } from "./task-jobs.ts";

const MODERN = "2026-07-28";
const META = "io.modelcontextprotocol/";
const EXTENSION = `${META}tasks`;
const RELATED = `${META}related-task`;

export type WireAnswer = { result: Json } | { error: Json; status?: number };

/** One request as it reached the upstream. */
export interface WireRequest {
  method: string;
  params: Json;
  /** Whose it is: tasks of others are unknown. */
  owner: string;
  /** Puts a question to the client on the stream of this request (2025-11-25). */
  ask?(request: Json): Promise<Json>;
}

export interface WireOptions {
  tools?: readonly TaskTool[];
  pollMs?: number;
  ttlMs?: number | null;
  /** 2025-11-25 only: what is not declared is not offered. */
  list?: boolean;
  cancel?: boolean;
  pageSize?: number;
  /** What ids of tasks look like. */
  idOf?(): string;
}

/** The task part of a fake upstream, in both forms, as messages. Answers undefined for what is none of its business. */
export class TaskWire {
  readonly options: WireOptions;
  readonly jobs = new Map<string, { job: Job; owner: string }>();

  constructor(options: WireOptions = {}) {
    this.options = options;
  }

  get tools(): readonly TaskTool[] {
    return this.options.tools ?? taskTools;
  }

  /** For `tools/list`. */
  listed(form: "core" | "extension"): Json[] {
    return this.tools.map(({ name, description, taskSupport }) => {
      const tool: Json = { name, description, inputSchema: { type: "object" } };
      if (form === "core" && taskSupport) tool.execution = { taskSupport };
      return tool;
    });
  }

  capabilities(form: "core" | "extension"): Json {
    if (form === "extension") return { extensions: { [EXTENSION]: {} } };
    const { list = true, cancel = true } = this.options;
    return {
      tasks: { requests: { tools: { call: {} } }, ...(list && { list: {} }), ...(cancel && { cancel: {} }) },
    };
  }

  async extension(request: WireRequest): Promise<WireAnswer | undefined> {
    const { method, params, owner } = request;
    const declared = params._meta?.[`${META}clientCapabilities`]?.extensions?.[EXTENSION] !== undefined;
    if (method === "tools/call") return this.#callExtension(request, declared);
    if (!["tasks/get", "tasks/update", "tasks/cancel"].includes(method)) return undefined;
    if (!declared) return missing();
    const job = this.#find(params.taskId, owner);
    if (!job) return unknown(params.taskId);
    if (method === "tasks/get") return complete(this.#detailed(job));
    if (method === "tasks/cancel") job.cancel();
    else
      for (const [key, response] of Object.entries(params.inputResponses ?? {}))
        job.answer(key, response as Json);
    return complete({});
  }

  async core(request: WireRequest): Promise<WireAnswer | undefined> {
    const { method, params, owner } = request;
    if (method === "tools/call") return this.#callCore(request);
    if (method === "tasks/list" && this.options.list !== false) return this.#list(params.cursor, owner);
    if (!["tasks/get", "tasks/result", "tasks/cancel"].includes(method)) return undefined;
    const job = this.#find(params.taskId, owner);
    if (!job) return unknown(params.taskId);
    if (method === "tasks/get") return { result: this.#task(job) };
    if (method === "tasks/result") return await this.#result(job, request);
    if (this.options.cancel === false) return undefined;
    if (job.isOver)
      return { error: { code: -32602, message: `Cannot cancel task ${job.id}: ${job.status}` } };
    job.cancel();
    return { result: this.#task(job) };
  }

  async #callExtension({ params, owner }: WireRequest, declared: boolean): Promise<WireAnswer | undefined> {
    const tool = this.tools.find(({ name }) => name === params.name);
    if (!tool) return undefined;
    const args = { ...params.arguments };
    if (!tool.taskSupport) return complete(await tool.run(args, undefined));
    if (tool.first) {
      const told = params.inputResponses?.it;
      if (!told)
        return {
          result: { resultType: "input_required", inputRequests: { it: tool.first }, requestState: "s" },
        };
      Object.assign(args, told.content);
    }
    if (!declared)
      return tool.taskSupport === "required" ? missing() : complete(await tool.run(args, undefined));
    return { result: { resultType: "task", ...this.#extended(this.#start(tool, args, owner)) } };
  }

  async #callCore({ params, owner, ask }: WireRequest): Promise<WireAnswer | undefined> {
    const tool = this.tools.find(({ name }) => name === params.name);
    if (!tool) return undefined;
    const wrong = params.task ? !tool.taskSupport : tool.taskSupport === "required";
    if (wrong) return { error: { code: -32601, message: `Tool ${tool.name}: task augmentation` } };
    const args = { ...params.arguments };
    if (!params.task) return { result: await tool.run(args, undefined) };
    if (tool.first && ask) Object.assign(args, (await ask(tool.first)).content);
    const job = this.#start(tool, args, owner, params.task.ttl);
    return { result: { task: this.#task(job) } };
  }

  readonly #ttls = new Map<string, number>();

  #start(tool: TaskTool, args: Json, owner: string, ttl?: number): Job {
    const job = new Job((self) => tool.run(args, self), this.options.idOf?.());
    if (ttl !== undefined) this.#ttls.set(job.id, ttl);
    this.jobs.set(job.id, { job, owner });
    return job;
  }

  #find(id: unknown, owner: string): Job | undefined {
    const found = this.jobs.get(String(id));
    return found?.owner === owner ? found.job : undefined;
  }

  #list(cursor: unknown, owner: string): WireAnswer {
    const own = [...this.jobs.values()].filter((one) => one.owner === owner).map(({ job }) => job);
    const from = cursor === undefined ? 0 : Number(cursor);
    const { pageSize = 10 } = this.options;
    const tasks = own.slice(from, from + pageSize).map((job) => this.#task(job));
    const more = from + pageSize < own.length;
    return { result: { tasks, ...(more && { nextCursor: String(from + pageSize) }) } };
  }

  /** Blocks until it is over; what it wants to know is asked on the way, each question once. */
  async #result(job: Job, { ask }: WireRequest): Promise<WireAnswer> {
    const asked = new Set<string>();
    while (!job.isOver) {
      for (const [key, { request }] of job.questions) {
        if (asked.has(key) || !ask) continue;
        asked.add(key);
        const params = { ...request.params, _meta: { [RELATED]: { taskId: job.id } } };
        ask({ method: request.method, params }).then((response) => job.answer(key, response));
      }
      await job.changed();
    }
    if (job.error) return { error: job.error };
    const result = job.result ?? text("cancelled", { isError: true });
    return { result: { ...result, _meta: { [RELATED]: { taskId: job.id } } } };
  }

  #stamps({ id, status, createdAt, lastUpdatedAt }: Job): Json {
    return { taskId: id, status, statusMessage: `is ${status}`, createdAt, lastUpdatedAt };
  }

  #task(job: Job): Json {
    const { ttlMs = 60_000, pollMs = 50 } = this.options;
    const status = job.result?.isError ? "failed" : job.status;
    return { ...this.#stamps(job), status, ttl: this.#ttls.get(job.id) ?? ttlMs, pollInterval: pollMs };
  }

  #extended(job: Job): Json {
    const { ttlMs = 60_000, pollMs = 50 } = this.options;
    return { ...this.#stamps(job), ttlMs, pollIntervalMs: pollMs };
  }

  #detailed(job: Job): Json {
    const said = this.#extended(job);
    if (job.status === "completed") said.result = job.result;
    if (job.status === "failed") said.error = job.error;
    if (job.status === "input_required")
      said.inputRequests = Object.fromEntries([...job.questions].map(([key, { request }]) => [key, request]));
    return said;
  }
}

function complete(result: Json): WireAnswer {
  return { result: { resultType: "complete", ...result } };
}

function unknown(id: unknown): WireAnswer {
  return { error: { code: -32602, message: `Failed to retrieve task: Task ${id} not found` } };
}

function missing(): WireAnswer {
  const data = { requiredCapabilities: { extensions: { [EXTENSION]: {} } } };
  return { error: { code: -32021, message: "Missing required client capability", data }, status: 400 };
}

/** 2026-07-28 "Server Validation", with the header that the tasks extension adds. */
export function refuseModern(
  header: (name: string) => string | undefined,
  { method, params }: Json,
): { answer: WireAnswer; status: number } | undefined {
  const version = params?._meta?.[`${META}protocolVersion`];
  if (version !== MODERN) {
    const error = { code: -32022, message: "Unsupported protocol version", data: { supported: [MODERN] } };
    return { answer: { error }, status: 400 };
  }
  const name =
    method === "tools/call" ? params.name : method.startsWith("tasks/") ? params.taskId : undefined;
  const fits = name === undefined || decoded(header("mcp-name") ?? "") === name;
  if (header("mcp-method") === method && fits) return undefined;
  return { answer: { error: { code: -32020, message: "Headers do not match the body" } }, status: 400 };
}

function decoded(header: string): string {
  const encoded = /^=\?base64\?(.*)\?=$/.exec(header)?.[1];
  return encoded === undefined ? header : Buffer.from(encoded, "base64").toString("utf8");
}
