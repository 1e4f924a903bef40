import { z } from "zod";
import { Problem } from "../base/index.ts";
import { envelope, noContent, type Route, type RouteContext } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { type Message, named, readMessage } from "./body.ts";
import { type Caller, Callers } from "./caller.ts";
import { ClientStream } from "./client-stream.ts";
import { type Client, isModern, legacyClient, modernClient } from "./era.ts";
import { InFlight } from "./in-flight.ts";
import { Methods } from "./methods.ts";
import { Origins } from "./origin.ts";
import type { McpParts } from "./parts.ts";
import { code, Refusal } from "./refusal.ts";
import { type Reply, writeReply } from "./reply.ts";
import { ClientSessions } from "./session.ts";

type Context = Pick<RouteContext<unknown>, "request" | "remote" | "requestId" | "log">;

/** The routes of `/mcp` and `/mcp/{slug}`. */
export function mcpRoutes(parts: McpParts): Route[] {
  const endpoint = new Endpoint(parts);
  return [...routesAt("/mcp", endpoint), ...routesAt("/mcp/{slug}", endpoint)];
}

const slugParams = z.object({ slug: z.string() });

function routesAt(path: "/mcp" | "/mcp/{slug}", endpoint: Endpoint): Route[] {
  const slugged = path === "/mcp/{slug}";
  const methods = { POST: "post", GET: "refuse", DELETE: "refuse", OPTIONS: "preflight" } as const;
  return (Object.keys(methods) as (keyof typeof methods)[]).map((method) =>
    route({
      method,
      path,
      operationId: `mcp${slugged ? "Slug" : ""}${method[0]}${method.slice(1).toLowerCase()}`,
      summary: summaries[method],
      tag: "MCP",
      access: "mcp",
      csrf: "none",
      rate: "none",
      errors: "envelope",
      params: slugged ? slugParams : undefined,
      answers: answers[method],
      handle: (context) => endpoint[methods[method]](context, slugged ? context.params.slug : undefined),
    }),
  );
}

const summaries = {
  POST: "One JSON-RPC message of an MCP client (Streamable HTTP, 2025-06-18 to 2026-07-28)",
  GET: "Not offered: there is no stream to open",
  DELETE: "Not offered: sessions end by themselves",
  OPTIONS: "CORS preflight for the allowed origins",
};
const answers = {
  POST: { 200: { description: "The answer, as JSON or as an event stream" }, 202: { description: "Taken" } },
  GET: { 405: { description: "Use POST" } },
  DELETE: { 405: { description: "Use POST" } },
  OPTIONS: { 204: { description: "What is allowed" } },
};

class Endpoint {
  readonly #origins: Origins;
  readonly #callers: Callers;
  readonly #sessions: ClientSessions;
  readonly #methods: Methods;
  readonly #inFlight = new InFlight();

  constructor(parts: McpParts) {
    this.#origins = new Origins(parts.settings);
    this.#callers = new Callers(parts);
    this.#sessions = new ClientSessions(parts.world, parts.seal);
    this.#methods = new Methods(parts, this.#sessions);
  }

  post(context: Context, slug: string | undefined): Promise<Response> {
    return this.#guarded(context, slug, (caller, headers) => this.#answer(context, slug, caller, headers));
  }

  /** 401 comes before 405: who may not know does not learn what is here (MC-03). */
  refuse(context: Context, slug: string | undefined): Promise<Response> {
    return this.#guarded(context, slug, () => {
      const message =
        "Send JSON-RPC messages with POST; this endpoint opens no stream and keeps no session to delete.";
      throw new Problem("method_not_allowed", "method_not_allowed", message, { headers: { allow: "POST" } });
    });
  }

  async preflight({ request }: Context): Promise<Response> {
    const origin = request.headers.get("origin");
    this.#origins.check(origin);
    return noContent({ allow: "POST", ...this.#origins.preflight(origin) });
  }

  /** Origin, then who calls, then the rest; refusals keep the CORS headers, or a browser could not read them. */
  async #guarded(
    context: Context,
    slug: string | undefined,
    work: (caller: Caller, headers: Record<string, string>) => Promise<Response>,
  ): Promise<Response> {
    const { request } = context;
    const origin = request.headers.get("origin");
    this.#origins.check(origin);
    const headers = this.#origins.headers(origin);
    try {
      return await work(await this.#callers.prove(request, slug, context.remote), headers);
    } catch (error) {
      if (error instanceof Refusal) {
        context.log.debug("mcp.refused", { code: error.code, status: error.status });
        return refuse(error, headers);
      }
      if (!(error instanceof Problem) || error.status >= 500) throw error;
      context.log.debug("request.refused", { code: error.code, status: error.status });
      const response = envelope(error, context.requestId);
      for (const name in headers) response.headers.set(name, headers[name]!);
      return response;
    }
  }

  async #answer(
    context: Context,
    slug: string | undefined,
    caller: Caller,
    headers: Record<string, string>,
  ): Promise<Response> {
    const { request } = context;
    const streams = acceptsStream(request.headers.get("accept"));
    const message = await readMessage(request);
    // Named bundles come later; until then every slug is unknown.
    if (slug !== undefined) {
      const text = "There is no MCP server of this name here. Check the address.";
      throw named(new Refusal(code.invalidRequest, text, { status: 404 }), message.id);
    }
    try {
      const client = isModern(message, request.headers)
        ? modernClient(message, request.headers)
        : legacyClient(message, request.headers, caller, this.#sessions);
      if (message.id === undefined) {
        this.#inFlight.notify(caller, client, message);
        return new Response(null, { status: 202, headers });
      }
      return await this.#run(context, caller, client, { ...message, id: message.id }, streams, headers);
    } catch (error) {
      if (error instanceof Refusal) named(error, message.id);
      throw error;
    }
  }

  async #run(
    context: Context,
    caller: Caller,
    client: Client,
    message: Message & { id: string | number },
    streams: boolean,
    headers: Record<string, string>,
  ): Promise<Response> {
    const { request, requestId } = context;
    if (message.method !== "tools/call") {
      const { signal, headers: sent } = request;
      const exchange = { caller, client, message, headers: sent, signal, requestId };
      return write(message.id, await this.#methods.answer(exchange), headers);
    }
    const { signal, done } = this.#inFlight.track(caller, client, message.id, request.signal);
    const stream = streams ? new ClientStream() : undefined;
    const onNotification =
      stream && ((notification: Parameters<ClientStream["send"]>[0]) => stream.send(notification));
    const exchange = { caller, client, message, headers: request.headers, signal, requestId, onNotification };
    const replied = this.#methods.answer(exchange).finally(done);
    if (stream === undefined) return write(message.id, await replied, headers);
    const first = await Promise.race([replied, stream.opened]);
    if (first) return write(message.id, first, headers);
    // The status is sent; whatever comes now comes on the stream.
    replied
      .catch((error): Reply => {
        if (!(error instanceof Refusal)) context.log.error("mcp.call_crashed", { error });
        return {
          error: {
            code: code.internal,
            message: "Something went wrong on our side.",
            data: { event_id: requestId },
          },
        };
      })
      .then((reply) => stream.finish(writeReply(message.id, reply)));
    return new Response(stream.body, {
      headers: { ...headers, "content-type": "text/event-stream", "x-accel-buffering": "no" },
    });
  }
}

function write(id: string | number, reply: Reply, headers: Record<string, string>): Response {
  headers["content-type"] = "application/json";
  if ("result" in reply) Object.assign(headers, reply.headers);
  const status = "error" in reply ? (reply.status ?? 200) : 200;
  return new Response(writeReply(id, reply), { status, headers });
}

function refuse(refusal: Refusal, headers: Record<string, string>): Response {
  const { message, data, status } = refusal;
  const error = data === undefined ? { code: refusal.code, message } : { code: refusal.code, message, data };
  headers["content-type"] = "application/json";
  return new Response(writeReply(refusal.id, { error }), { status, headers });
}

const JSON_ACCEPTED = /(?:^|,)\s*(?:application\/(?:json|\*)|\*\/\*)\s*(?:[;,]|$)/i;
const STREAM_ACCEPTED = /(?:^|,)\s*text\/event-stream\s*(?:[;,]|$)/i;

/** Whether the client reads event streams; 406 when it reads nothing of ours. No `Accept` is any (RFC 9110 §12.5.1), as JSON. */
function acceptsStream(accept: string | null): boolean {
  if (accept === null) return false;
  const stream = STREAM_ACCEPTED.test(accept);
  if (stream || JSON_ACCEPTED.test(accept)) return stream;
  throw new Refusal(code.invalidRequest, "Accept application/json and text/event-stream.", { status: 406 });
}
