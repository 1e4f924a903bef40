import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { type LoopbackServer, startLoopbackServer } from "./loopback-server.ts";
import type { Json } from "./task-jobs.ts";
import { refuseModern, TaskWire, type WireAnswer, type WireOptions } from "./task-wire.ts";

const MODERN = "2026-07-28";
const META = "io.modelcontextprotocol/";

export interface TaskUpstreamOptions extends WireOptions {
  /** `core`: 2025-11-25 with sessions; `extension`: 2026-07-28. */
  form: "core" | "extension";
  /** What tasks are bound to. The official v1 SDK binds them to the session. */
  bind?: "session" | "credential";
}

/** Starts an MCP server that really runs tasks, over plain HTTP, in one of the two forms. */
export async function startTaskUpstream(options: TaskUpstreamOptions): Promise<TaskUpstream> {
  return new TaskUpstream(await startLoopbackServer(), options);
}

export class TaskUpstream {
  readonly url: string;
  readonly options: TaskUpstreamOptions;
  /** Every message, in the order of arrival, with its headers. */
  readonly heard: { message: Json; headers: IncomingMessage["headers"] }[] = [];
  wire: TaskWire;
  readonly #listening: LoopbackServer;
  readonly #sessions = new Set<string>();
  readonly #asked = new Map<string, (answer: Json) => void>();
  /** Standing GET streams (2025-11-25), by session. */
  readonly streams = new Map<string, ServerResponse>();
  /** Streams of `subscriptions/listen` that follow tasks (2026-07-28), by the id of the request. */
  readonly listening = new Map<unknown, { res: ServerResponse; taskIds: string[] }>();
  /** Calls that became tasks: the task, what its progress is called by, and the session. */
  readonly made: { taskId: string; token: unknown; session: string }[] = [];
  /** Streams of requests under way, by method. */
  readonly waiting = new Map<string, ServerResponse>();
  /** Answers instead of the usual, once. */
  readonly instead = new Map<string, (message: Json) => WireAnswer | undefined>();

  constructor(listening: LoopbackServer, options: TaskUpstreamOptions) {
    this.#listening = listening;
    this.options = options;
    this.wire = new TaskWire(options);
    this.url = `${listening.origin}/mcp`;
    listening.server.on("request", (req, res) => {
      this.#serve(req, res).catch(() => res.destroy());
    });
  }

  /** The capabilities and tools as a gateway reads them. */
  get features() {
    const { form } = this.options;
    const capabilities = { tools: {}, ...this.wire.capabilities(form) };
    return { capabilities, resources: [], templates: [], prompts: [] };
  }

  get tools(): Json[] {
    return this.wire.listed(this.options.form);
  }

  /** Messages of one method. */
  calls(method: string): Json[] {
    return this.heard.map(({ message }) => message).filter((message) => message.method === method);
  }

  /** Forgets tasks and sessions, as a server does that was started anew. */
  restart(): void {
    this.wire = new TaskWire(this.options);
    this.#sessions.clear();
  }

  /** Forgets sessions and keeps tasks. */
  forgetSessions(): void {
    this.#sessions.clear();
  }

  /** Says something on the standing stream of a session. */
  say(session: string, method: string, params: Json): void {
    this.streams.get(session)?.write(event({ jsonrpc: "2.0", method, params }));
  }

  /** Progress of a task, under the token of the call that it was made of. */
  progress(
    { token, taskId, session }: { token: unknown; taskId: string; session: string },
    progress: number,
  ): void {
    const _meta = { [`${META}related-task`]: { taskId } };
    this.say(session, "notifications/progress", { progressToken: token, progress, _meta });
  }

  /** Says on the stream of a request under way that is not answered yet. */
  sayOn(method: string, message: Json): void {
    const res = this.waiting.get(method)!;
    if (!res.headersSent) res.writeHead(200, { "content-type": "text/event-stream" });
    res.write(event({ jsonrpc: "2.0", ...message }));
  }

  /** Tells whoever listens (2026-07-28). */
  tellTask(params: Json): void {
    for (const [id, { res, taskIds }] of this.listening) {
      if (!taskIds.includes(params.taskId)) continue;
      const _meta = { [`${META}subscriptionId`]: id };
      res.write(event({ jsonrpc: "2.0", method: "notifications/tasks", params: { ...params, _meta } }));
    }
  }

  async close(): Promise<void> {
    await this.#listening.close();
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    res.on("error", () => {});
    if (req.method === "GET" && this.options.form === "core") return this.#stand(req, res);
    if (req.method === "DELETE") return void res.writeHead(200).end();
    if (req.method !== "POST") return void res.writeHead(405).end();
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk);
    const message: Json = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    this.heard.push({ message, headers: req.headers });
    if (message.method === undefined) {
      this.#asked.get(String(message.id))?.(message.result ?? { action: "cancel" });
      return void res.writeHead(202).end();
    }
    const refusal =
      this.options.form === "core"
        ? this.#refuseCore(req, message)
        : refuseModern((name) => req.headers[name] as string | undefined, message);
    if (refusal) return send(res, message, refusal.answer, refusal.status);
    if (message.id === undefined) return void res.writeHead(202).end();
    const special = this.instead.get(message.method)?.(message);
    if (special) return send(res, message, special);
    if (message.method === "initialize") return this.#initialize(res, message);
    const answer = (await this.#answer(req, res, message)) ?? {
      error: { code: -32601, message: "Method not found" },
    };
    send(res, message, answer);
  }

  async #answer(req: IncomingMessage, res: ServerResponse, message: Json): Promise<WireAnswer | undefined> {
    const { method, params = {} } = message;
    const { form, bind = "session" } = this.options;
    const cached = form === "core" ? {} : { resultType: "complete", ttlMs: 0, cacheScope: "private" };
    if (method === "ping") return { result: {} };
    if (method === "tools/list") return { result: { tools: this.tools, ...cached } };
    if (method === "server/discover") {
      const { capabilities } = this.features;
      return form === "core"
        ? undefined
        : { result: { supportedVersions: [MODERN], capabilities, ...cached } };
    }
    if (method === "subscriptions/listen" && form === "extension") return this.#listen(res, message);
    const session = String(req.headers["mcp-session-id"] ?? "");
    const owner = form === "core" && bind === "session" ? session : String(req.headers.authorization ?? "");
    const ask = (request: Json) => this.#ask(res, request);
    this.waiting.set(method, res);
    const answer = await this.wire[form]({ method, params, owner, ask });
    const result = answer && "result" in answer ? answer.result : undefined;
    const taskId = method === "tools/call" ? (result?.task?.taskId ?? result?.taskId) : undefined;
    if (taskId) this.made.push({ taskId, token: params._meta?.progressToken, session });
    return answer;
  }

  /** 2025-11-25 "Listening for Messages from the Server". */
  #stand(req: IncomingMessage, res: ServerResponse): void {
    const session = String(req.headers["mcp-session-id"] ?? "");
    if (!this.#sessions.has(session)) return void res.writeHead(404).end();
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.write(": standing\n\n");
    this.streams.set(session, res);
    res.on("close", () => {
      if (this.streams.get(session) === res) this.streams.delete(session);
    });
  }

  /** 2026-07-28 "Subscriptions", as far as tasks go. Never answered while it stands. */
  #listen(res: ServerResponse, { id, params }: Json): Promise<never> {
    const { taskIds = [] } = params.notifications;
    res.writeHead(200, { "content-type": "text/event-stream" });
    const _meta = { [`${META}subscriptionId`]: id };
    const method = "notifications/subscriptions/acknowledged";
    res.write(event({ jsonrpc: "2.0", method, params: { notifications: { taskIds }, _meta } }));
    this.listening.set(id, { res, taskIds });
    res.on("close", () => this.listening.delete(id));
    return new Promise(() => {});
  }

  /** On the stream of the request, which its answer ends. */
  #ask(res: ServerResponse, request: Json): Promise<Json> {
    const id = randomUUID();
    if (!res.headersSent) res.writeHead(200, { "content-type": "text/event-stream" });
    res.write(`event: message\ndata: ${JSON.stringify({ jsonrpc: "2.0", id, ...request })}\n\n`);
    return new Promise((resolve) => this.#asked.set(id, resolve));
  }

  #initialize(res: ServerResponse, message: Json): void {
    const session = randomUUID();
    this.#sessions.add(session);
    res.setHeader("mcp-session-id", session);
    const { capabilities } = this.features;
    const serverInfo = { name: "tasks", version: "1" };
    send(res, message, { result: { protocolVersion: "2025-11-25", capabilities, serverInfo } });
  }

  #refuseCore(req: IncomingMessage, { method }: Json): { answer: WireAnswer; status: number } | undefined {
    if (method === "initialize") return undefined;
    const session = req.headers["mcp-session-id"];
    if (session === undefined)
      return { answer: { error: { code: -32000, message: "no session" } }, status: 400 };
    if (this.#sessions.has(String(session))) return undefined;
    return { answer: { error: { code: -32001, message: "Session not found" } }, status: 404 };
  }
}

function event(message: Json): string {
  return `event: message\ndata: ${JSON.stringify(message)}\n\n`;
}

function send(res: ServerResponse, { id }: Json, answer: WireAnswer, refused?: number): void {
  if (res.destroyed) return;
  const { status = refused ?? 200, ...said } = answer as WireAnswer & { status?: number };
  const text = JSON.stringify({ jsonrpc: "2.0", id: id ?? null, ...said });
  if (res.headersSent) res.end(`event: message\ndata: ${text}\n\n`);
  else res.writeHead(status, { "content-type": "application/json" }).end(text);
}
