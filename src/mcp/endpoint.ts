import { z } from "zod";
import { Problem } from "../base/index.ts";
import {
  answerWeb,
  type DirectContext,
  type DirectHandler,
  envelope,
  noContent,
  type PlainAnswer,
  type Route,
} from "../http/index.ts";
import { route } from "../identity/index.ts";
import type { Notification } from "../relay/index.ts";
import { type Message, named, readMessage } from "./body.ts";
import { mayNotify, type ToolCall } from "./call-tool.ts";
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
import { type ToolDoor, toolExecuteRoutes } from "./tool-execute.ts";

/** The routes of `/mcp` and `/mcp/{slug}`. */
export function mcpRoutes(parts: McpParts): Route[] {
  const endpoint = new Endpoint(parts);
  return [
    ...routesAt("/mcp", endpoint),
    ...routesAt("/mcp/{slug}", endpoint),
    ...toolExecuteRoutes(endpoint),
  ];
}

const slugParams = z.object({ slug: z.string() });

function routesAt(path: "/mcp" | "/mcp/{slug}", endpoint: Endpoint): Route[] {
  const slugged = path === "/mcp/{slug}";
  const methods = { POST: "post", GET: "refuse", DELETE: "refuse", OPTIONS: "preflight" } as const;
  return (Object.keys(methods) as (keyof typeof methods)[]).map((method) => {
    const direct: DirectHandler = (context) =>
      endpoint[methods[method]](context, slugged ? context.params.slug : undefined);
    return route({
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
      refuses: method === "POST" ? [400, 404, 406, 413, 415] : method === "OPTIONS" ? [] : [400],
      answers: answers[method],
      handle: (context) => answerWeb(direct, context as never),
      direct,
    });
  });
}

const summaries = {
  POST: "One JSON-RPC message of an MCP client (Streamable HTTP, 2025-06-18 to 2026-07-28)",
  GET: "Not offered: there is no stream to open",
  DELETE: "Not offered: sessions end by themselves",
  OPTIONS: "CORS preflight for the allowed origins",
};
const answers = {
  POST: {
    200: {
      description: "The answer, as JSON or as an event stream",
      schema: z.looseObject({ jsonrpc: z.literal("2.0") }),
      media: ["text/event-stream"],
    },
    202: { description: "Taken" },
  },
  GET: { 405: { description: "Use POST" } },
  DELETE: { 405: { description: "Use POST" } },
  OPTIONS: { 204: { description: "What is allowed" } },
};

/** A message that wants an answer. */
type Request = Message & { id: string | number };

class Endpoint implements ToolDoor {
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

  get calls(): ToolDoor["calls"] {
    return this.#methods.calls;
  }

  post(context: DirectContext, slug: string | undefined): Promise<PlainAnswer | Response> {
    return this.guarded(context, slug, (caller, headers) => this.#answer(context, slug, caller, headers));
  }

  /** 401 comes before 405: who may not know does not learn what is here (MC-03). */
  refuse(context: DirectContext, slug: string | undefined): Promise<PlainAnswer | Response> {
    return this.guarded(context, slug, () => {
      const message =
        "Send JSON-RPC messages with POST; this endpoint opens no stream and keeps no session to delete.";
      throw new Problem("method_not_allowed", "method_not_allowed", message, { headers: { allow: "POST" } });
    });
  }

  async preflight({ inbound }: DirectContext): Promise<Response> {
    const origin = inbound.headers.get("origin");
    this.#origins.check(origin);
    return noContent({ allow: "POST", ...this.#origins.preflight(origin) });
  }

  /** Origin, then who calls, then the rest; refusals keep the CORS headers, or a browser could not read them. */
  async guarded(
    context: DirectContext,
    slug: string | undefined,
    work: (caller: Caller, headers: Record<string, string>) => Promise<PlainAnswer | Response>,
  ): Promise<PlainAnswer | Response> {
    const sent = context.inbound.headers;
    const origin = sent.get("origin");
    this.#origins.check(origin);
    const headers = this.#origins.headers(origin);
    try {
      const caller = this.#callers.known(sent, slug) ?? (await this.#callers.prove(sent, slug, context));
      return await work(caller, headers);
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
    context: DirectContext,
    slug: string | undefined,
    caller: Caller,
    headers: Record<string, string>,
  ): Promise<PlainAnswer | Response> {
    const sent = context.inbound.headers;
    const streams = acceptsStream(sent.get("accept"));
    const message = await readMessage(context.inbound);
    // ID-30: a virtual MCP that this caller may not use looks like none.
    if (slug !== undefined && caller.virtualMcp === undefined) {
      const text = "There is no MCP server of this name here. Check the address.";
      throw named(new Refusal(code.invalidRequest, text, { status: 404 }), message.id);
    }
    try {
      const client = isModern(message, sent)
        ? modernClient(message, sent)
        : legacyClient(message, sent, caller, this.#sessions);
      if (message.id === undefined) {
        this.#inFlight.notify(caller, client, message);
        return new Response(null, { status: 202, headers });
      }
      return await this.#run(context, caller, client, message as Request, streams, headers);
    } catch (error) {
      if (error instanceof Refusal) named(error, message.id);
      throw error;
    }
  }

  async #run(
    context: DirectContext,
    caller: Caller,
    client: Client,
    message: Request,
    streams: boolean,
    headers: Record<string, string>,
  ): Promise<PlainAnswer | Response> {
    const { inbound, requestId } = context;
    const { headers: sent, gone } = inbound;
    if (message.method !== "tools/call") {
      const exchange = { caller, client, message, headers: sent, signal: gone, requestId };
      return write(message.id, await this.#methods.answer(exchange), headers);
    }
    const { signal, done } = this.#inFlight.track(caller, client, message.id, gone);
    const params = message.params ?? {};
    const call: ToolCall = { caller, client, params, headers: sent, signal, requestId };
    if (!streams || !mayNotify(client, message)) {
      const reply = this.calls.call(call);
      return write(message.id, await (done ? reply.finally(done) : reply), headers);
    }
    const stream = new ClientStream();
    const onNotification = (notification: Notification) => stream.send(notification);
    const replied = this.calls.call({ ...call, onNotification }).finally(done);
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

function write(id: string | number, reply: Reply, headers: Record<string, string>): PlainAnswer {
  headers["content-type"] = "application/json";
  if ("result" in reply) Object.assign(headers, reply.headers);
  const status = "error" in reply ? (reply.status ?? 200) : 200;
  return { status, headers, body: writeReply(id, reply) };
}

function refuse(refusal: Refusal, headers: Record<string, string>): PlainAnswer {
  const { message, data, status } = refusal;
  const error = data === undefined ? { code: refusal.code, message } : { code: refusal.code, message, data };
  headers["content-type"] = "application/json";
  return { status, headers, body: writeReply(refusal.id, { error }) };
}

const JSON_ACCEPTED = /(?:^|,)\s*(?:application\/(?:json|\*)|\*\/\*)\s*(?:[;,]|$)/i;
const STREAM_ACCEPTED = /(?:^|,)\s*text\/event-stream\s*(?:[;,]|$)/i;
/** What the SDKs send. */
const USUAL_ACCEPT = "application/json, text/event-stream";

/** Whether the client reads event streams; 406 when it reads nothing of ours. No `Accept` is any (RFC 9110 §12.5.1), as JSON. */
function acceptsStream(accept: string | null): boolean {
  if (accept === USUAL_ACCEPT) return true;
  if (accept === null) return false;
  const stream = STREAM_ACCEPTED.test(accept);
  if (stream || JSON_ACCEPTED.test(accept)) return stream;
  throw new Refusal(code.invalidRequest, "Accept application/json and text/event-stream.", { status: 406 });
}
