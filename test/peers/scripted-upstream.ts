import type { IncomingMessage, ServerResponse } from "node:http";
import type { ServerOptions } from "node:https";
import { type LoopbackServer, startLoopbackServer } from "./loopback-server.ts";
import { type RecordedRequest, recordRequest } from "./recorded-request.ts";
import { answer, type Exchange, type Handler, send } from "./scripted-answers.ts";
import { usualAnswer } from "./scripted-eras.ts";

export { answer, Drip, type Exchange, type Handler } from "./scripted-answers.ts";
export type Era = "legacy" | "modern";

export interface ScriptedTool {
  name: string;
  inputSchema?: Record<string, unknown>;
  [more: string]: unknown;
}

export interface ScriptedUpstreamOptions {
  /** Default "modern" (2026-07-28); "legacy" wants `initialize` and gives a session id. */
  era?: Era;
  /** Default one tool, `echo`. */
  tools?: ScriptedTool[];
  /** Every request must carry this header with this value, else 401. */
  requireHeader?: { name: string; value: string };
  /** Every request must carry this bearer token, else 401 with the challenge. */
  requireBearer?: { token: string; challenge?: string };
  /** What it declares that it can do; default tools (`listChanged` where it is legacy). */
  capabilities?: Record<string, unknown>;
  /** What a legacy `initialize` is answered with; default the client's own, at most 2025-11-25. */
  protocolVersion?: string;
  /** What it answers to paths other than its endpoint, for example well-known documents as JSON. */
  documents?: Record<string, unknown>;
  port?: number;
  /** Speaks https with these. */
  tls?: ServerOptions;
}

/** Starts a fake MCP upstream that does what the test says, and the plain thing where it says nothing. */
export async function startScriptedUpstream(
  options: ScriptedUpstreamOptions = {},
): Promise<ScriptedUpstream> {
  return new ScriptedUpstream(await startLoopbackServer(undefined, options.port, options.tls), options);
}

export class ScriptedUpstream {
  readonly url: string;
  readonly origin: string;
  /** Every request, in the order of arrival. */
  readonly requests: RecordedRequest[] = [];
  era: Era;
  tools: ScriptedTool[];
  requireHeader: ScriptedUpstreamOptions["requireHeader"];
  requireBearer: ScriptedUpstreamOptions["requireBearer"];
  documents: Record<string, unknown>;
  protocolVersion: string | undefined;
  capabilities: Record<string, unknown> | undefined;
  /** Open legacy sessions; deleting one makes the upstream forget it. */
  readonly sessions = new Set<string>();

  readonly #listening: LoopbackServer;
  readonly #queue: { rpc: string | undefined; handler: Handler }[] = [];
  readonly #standing = new Map<string, Handler>();
  readonly #waiting: { rpc: string | undefined; resolve: (request: RecordedRequest) => void }[] = [];

  constructor(listening: LoopbackServer, options: ScriptedUpstreamOptions) {
    this.#listening = listening;
    this.protocolVersion = options.protocolVersion;
    this.capabilities = options.capabilities;
    this.origin = listening.origin;
    this.url = `${listening.origin}/mcp`;
    this.era = options.era ?? "modern";
    this.tools = options.tools ?? [{ name: "echo", inputSchema: { type: "object" } }];
    this.requireHeader = options.requireHeader;
    this.requireBearer = options.requireBearer;
    this.documents = options.documents ?? {};
    listening.server.on("request", (req, res) => void this.#serve(req, res));
  }

  /** Answers the next request, or the next of one JSON-RPC method ("GET" and "DELETE" work as well). Queued. */
  next(handler: Handler, rpc?: string): this {
    this.#queue.push({ rpc, handler });
    return this;
  }

  /** Answers every request of a JSON-RPC method that no queued handler takes. */
  on(rpc: string, handler: Handler): this {
    this.#standing.set(rpc, handler);
    return this;
  }

  /** What `on` was told last for a method. */
  standing(rpc: string): Handler | undefined {
    return this.#standing.get(rpc);
  }

  /** Resolves with the next request to arrive, or the next of one method. Ask before you cause it. */
  arrival(rpc?: string): Promise<RecordedRequest> {
    return new Promise((resolve) => this.#waiting.push({ rpc, resolve }));
  }

  /** Requests of one JSON-RPC method, or of "GET" or "DELETE". */
  calls(rpc: string): RecordedRequest[] {
    return this.requests.filter((r) => nameOf(r) === rpc);
  }

  forgetRequests(): void {
    this.requests.length = 0;
  }

  async close(): Promise<void> {
    await this.#listening.close();
  }

  /** What it does when nobody scripted anything, for handlers that only want to add to it. */
  usually: Handler = (exchange) => usualAnswer(this, exchange.request)(exchange);

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const request = await recordRequest(req).catch(() => undefined);
    if (!request) return; // The client went before it had said everything.
    res.on("error", () => {});
    this.requests.push(request);
    const exchange: Exchange = { request, req, res, id: request.body?.id ?? null };
    const handler = this.#handlerFor(request);
    this.#announce(request);
    try {
      await handler(exchange);
    } catch (error) {
      if (!res.headersSent) send(res, 500, String(error));
      else res.destroy();
    }
  }

  #announce(request: RecordedRequest): void {
    for (const waiting of [...this.#waiting]) {
      if (waiting.rpc !== undefined && waiting.rpc !== nameOf(request)) continue;
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
      waiting.resolve(request);
    }
  }

  #handlerFor(request: RecordedRequest): Handler {
    const path = request.path.split("?")[0] ?? "";
    if (path !== "/mcp") {
      const document = this.documents[path];
      return document === undefined ? answer.http(404, "not found") : answer.http(200, document);
    }
    const name = nameOf(request);
    const queued = this.#queue.findIndex((entry) => entry.rpc === undefined || entry.rpc === name);
    if (queued >= 0) return this.#queue.splice(queued, 1)[0]?.handler ?? this.usually;
    return this.#refusal(request) ?? this.#standing.get(name) ?? this.usually;
  }

  #refusal(request: RecordedRequest): Handler | undefined {
    const { requireHeader, requireBearer } = this;
    if (requireHeader && request.headers[requireHeader.name.toLowerCase()] !== requireHeader.value) {
      return answer.http(401, { error: "unknown key" });
    }
    if (requireBearer && request.headers.authorization !== `Bearer ${requireBearer.token}`) {
      return answer.unauthorized(requireBearer.challenge);
    }
    return undefined;
  }
}

function nameOf(request: RecordedRequest): string {
  return request.rpc ?? request.method;
}
