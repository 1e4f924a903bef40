import { z } from "zod";
import { Problem } from "../base/index.ts";
import {
  answerWeb,
  type DirectContext,
  type DirectHandler,
  envelope,
  type HeaderReader,
  noContent,
  type PlainAnswer,
  type Route,
} from "../http/index.ts";
import { route } from "../identity/index.ts";
import { modernVersion, type Notification } from "../relay/index.ts";
import { answerBatch, checkRevision } from "./batch.ts";
import { type Answer, type Batch, type Message, named, readMessage } from "./body.ts";
import { mayNotify, type ToolCall } from "./call-tool.ts";
import { type Caller, Callers } from "./caller.ts";
import { ClientAsks } from "./client-asks.ts";
import { ClientStream } from "./client-stream.ts";
import { ClientStreams } from "./client-streams.ts";
import { type Client, isModern, legacyClient, modernClient } from "./era.ts";
import { errorReply } from "./failures.ts";
import { InFlight } from "./in-flight.ts";
import { Mailbox } from "./mailbox.ts";
import { isCarried, Methods } from "./methods.ts";
import { Origins } from "./origin.ts";
import type { McpParts } from "./parts.ts";
import { Pushes } from "./pushes.ts";
import { code, Refusal } from "./refusal.ts";
import { type Reply, writeReply } from "./reply.ts";
import { ClientSessions } from "./session.ts";
import { SseAlias, type SseSender, sseRoutes } from "./sse-alias.ts";
import { type ToolDoor, toolExecuteRoutes } from "./tool-execute.ts";
import { canBeAsked } from "./upstream-input.ts";

/** The routes of `/mcp` and `/mcp/{slug}`. */
export function mcpRoutes(parts: McpParts): Route[] {
  const endpoint = new Endpoint(parts);
  return [
    ...routesAt("/mcp", endpoint),
    ...routesAt("/mcp/{slug}", endpoint),
    ...sseRoutes(endpoint.sse),
    ...toolExecuteRoutes(endpoint),
  ];
}

const slugParams = z.object({ slug: z.string() });

function routesAt(path: "/mcp" | "/mcp/{slug}", endpoint: Endpoint): Route[] {
  const slugged = path === "/mcp/{slug}";
  const methods = { POST: "post", GET: "listen", DELETE: "end", OPTIONS: "preflight" } as const;
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
      refuses: method === "POST" ? [400, 404, 406, 413, 415] : method === "OPTIONS" ? [] : [400, 404],
      answers: answers[method],
      handle: (context) => answerWeb(direct, context as never),
      direct,
    });
  });
}

const summaries = {
  POST: "One JSON-RPC message of an MCP client (Streamable HTTP, 2025-03-26 to 2026-07-28), or a batch of them (2025-03-26)",
  GET: "The stream of a session, for what belongs to no call (revisions before 2026-07-28)",
  DELETE: "Ends a session (revisions before 2026-07-28)",
  OPTIONS: "CORS preflight for the allowed origins",
};
const rpcMessage = z.looseObject({ jsonrpc: z.literal("2.0") });
const answers = {
  POST: {
    200: {
      description: "The answer, as JSON or as an event stream; of a batch, a list of answers",
      schema: z.union([rpcMessage, z.array(rpcMessage)]),
      media: ["text/event-stream"],
    },
    202: { description: "Taken" },
  },
  GET: {
    200: {
      description: "Messages of the server, until the client or the session goes",
      media: ["text/event-stream"],
    },
    405: { description: "Without a session there is no stream: use POST" },
  },
  DELETE: {
    204: { description: "The session is over, on every replica" },
    405: { description: "Without a session there is nothing to end: use POST" },
  },
  OPTIONS: { 204: { description: "What is allowed" } },
};

/** A message that wants an answer. */
type Request = Message & { id: string | number };

class Endpoint implements ToolDoor {
  readonly #origins: Origins;
  readonly #callers: Callers;
  readonly #sessions: ClientSessions;
  readonly #methods: Methods;
  readonly #inFlight: InFlight;
  readonly #asks: ClientAsks;
  readonly sse: SseAlias;
  readonly #pushes: Pushes;

  constructor(parts: McpParts) {
    this.#origins = new Origins(parts.settings);
    this.#callers = new Callers(parts);
    this.#sessions = new ClientSessions(parts);
    this.#inFlight = new InFlight(parts);
    const mailbox = new Mailbox(parts);
    this.#asks = new ClientAsks(parts.hash, mailbox);
    const streams = parts.streams ?? new ClientStreams(parts);
    this.#sessions.ended.push((session) => streams.endSession(session));
    this.#methods = new Methods(parts, this.#sessions, mailbox);
    this.#pushes = new Pushes({ mcp: parts, streams, callers: this.#callers, methods: this.#methods });
    this.sse = new SseAlias({ ...parts, mailbox, streams }, this);
  }

  get calls(): ToolDoor["calls"] {
    return this.#methods.calls;
  }

  post(context: DirectContext, slug: string | undefined): Promise<PlainAnswer | Response> {
    return this.guarded(context, slug, (caller, headers) => this.#answer(context, slug, caller, headers));
  }

  /** 2025-11-25 "Listening for Messages from the Server". */
  listen(context: DirectContext, slug: string | undefined): Promise<PlainAnswer | Response> {
    return this.guarded(context, slug, async (caller, headers) => {
      const sent = context.inbound.headers;
      refuseUnserved(caller, slug, undefined);
      await this.#sessions.open(caller, sessionOf(sent));
      const client = await legacyClient(stream, sent, caller, this.#sessions);
      if (!acceptsStream(sent.get("accept"))) throw notAcceptable();
      const wish = { caller, client, headers: sent };
      return eventStream(await this.#pushes.open(wish, sent.get("last-event-id")), headers);
    });
  }

  /** 2025-11-25 "Session Management". */
  end(context: DirectContext, slug: string | undefined): Promise<PlainAnswer | Response> {
    return this.guarded(context, slug, async (caller, headers) => {
      await this.#sessions.end(caller, sessionOf(context.inbound.headers));
      return new Response(null, { status: 204, headers });
    });
  }

  async preflight({ inbound }: DirectContext): Promise<Response> {
    const origin = inbound.headers.get("origin");
    this.#origins.check(origin);
    return noContent({ allow: "POST, GET, DELETE", ...this.#origins.preflight(origin) });
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
    refuseUnserved(caller, slug, message.id);
    try {
      if (message.method === undefined)
        return "entries" in message
          ? await this.#batch(context, message, caller, streams, headers)
          : await this.#answered(message, sent, caller, headers);
      const known = isModern(message, sent)
        ? modernClient(message, sent)
        : legacyClient(message, sent, caller, this.#sessions);
      const client = known instanceof Promise ? await known : known;
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

  async #batch(
    { inbound, requestId, log }: DirectContext,
    batch: Batch,
    caller: Caller,
    streams: boolean,
    headers: Record<string, string>,
  ): Promise<PlainAnswer | Response> {
    const { headers: sent, gone } = inbound;
    await checkRevision(sent, caller, this.#sessions);
    const from: SseSender = { caller, headers: sent, gone, requestId };
    const { status, body } = await answerBatch({ door: this, from, streams, log }, batch.entries);
    if (body instanceof ReadableStream) return eventStream(body, headers);
    if (body === undefined) return new Response(null, { status, headers });
    headers["content-type"] = "application/json";
    return { status, headers, body };
  }

  /** 2025-11-25 "Sending Messages to the Server": an answer is taken with 202. Clients of 2026-07-28 MUST NOT send any. */
  async #answered(
    answer: Answer,
    sent: HeaderReader,
    caller: Caller,
    headers: Record<string, string>,
  ): Promise<Response> {
    await this.#asks.answer(caller, await legacyClient(answer, sent, caller, this.#sessions), answer);
    return new Response(null, { status: 202, headers });
  }

  /** A message of the transport of 2024-11-05, or of a batch: what it comes to, for the stream. */
  async take(message: Message | Answer, from: SseSender): Promise<Reply | undefined> {
    const { caller, headers, gone, requestId, send } = from;
    const client = await legacyClient(message, headers, caller, this.#sessions);
    if (from.listener && client.sessionId !== undefined) this.#pushes.follow(from.listener, client);
    if (message.method === undefined) return void (await this.#asks.answer(caller, client, message));
    if (message.id === undefined) return this.#inFlight.notify(caller, client, message) as undefined;
    if (message.method !== "tools/call" && !isCarried(message.method)) {
      return this.#methods.answer({ caller, client, message, headers, signal: gone, requestId });
    }
    const { signal, done } = this.#inFlight.track(caller, client, message.id, gone);
    const params = message.params ?? {};
    const call: ToolCall = { caller, client, params, headers, signal, requestId, onNotification: send };
    if (send && client.sessionId !== undefined && canBeAsked(client))
      call.ask = (request) => this.#asks.ask(caller, client, send, request);
    return this.#methods.call(message.method, call).finally(done);
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
    if (message.method !== "tools/call" && !isCarried(message.method)) {
      if (message.method === "subscriptions/listen" && client.era === "modern") {
        if (!streams) throw notAcceptable();
        const wish = { caller, client, headers: sent };
        return eventStream(await this.#pushes.listen(wish, message, requestId), headers);
      }
      const exchange = { caller, client, message, headers: sent, signal: gone, requestId };
      return write(message.id, await this.#methods.answer(exchange), headers);
    }
    const { signal, done } = this.#inFlight.track(caller, client, message.id, gone);
    const params = message.params ?? {};
    const call: ToolCall = { caller, client, params, headers: sent, signal, requestId };
    if (!streams || !mayNotify(client, message)) {
      const reply = this.#methods.call(message.method, call);
      return write(message.id, await (done ? reply.finally(done) : reply), headers);
    }
    return this.#heard(context, call, message, done, headers);
  }

  /** A call whose client may hear something before the answer. */
  async #heard(
    context: DirectContext,
    call: ToolCall,
    message: Request,
    done: (() => void) | undefined,
    headers: Record<string, string>,
  ): Promise<PlainAnswer | Response> {
    const { caller, client } = call;
    const stream = new ClientStream();
    const onNotification = (notification: Notification) => stream.send(notification);
    const heard: ToolCall = { ...call, onNotification };
    if (client.era === "legacy" && client.sessionId !== undefined && canBeAsked(client))
      heard.ask = (request) => this.#asks.ask(caller, client, onNotification, request);
    const replied = this.#methods.call(message.method, heard).finally(done);
    const first = await Promise.race([replied, stream.opened]);
    if (first) return write(message.id, first, headers);
    // The status is sent; whatever comes now comes on the stream.
    replied
      .catch((error): Reply => errorReply(error, context))
      .then((reply) => stream.finish(writeReply(message.id, reply)));
    return eventStream(stream.body, headers);
  }
}

/** ID-30: a virtual MCP that this caller may not use looks like none. */
function refuseUnserved(
  { virtualMcp }: Caller,
  slug: string | undefined,
  id: string | number | undefined,
): void {
  if (slug === undefined || virtualMcp !== undefined) return;
  const text = "There is no MCP server of this name here. Check the address.";
  throw named(new Refusal(code.invalidRequest, text, { status: 404 }), id);
}

/** What a GET is for where a message would say it. */
const stream = { method: undefined };

/** The session a GET or DELETE is about. 405 without one, and for 2026-07-28, which has neither (protocol section 1.4). */
function sessionOf(headers: HeaderReader): string {
  const id = headers.get("mcp-session-id");
  if (id !== null && headers.get("mcp-protocol-version")?.trim() !== modernVersion) return id;
  const message =
    "Send JSON-RPC messages with POST; a stream and its end belong to a session of an older client.";
  throw new Problem("method_not_allowed", "method_not_allowed", message, { headers: { allow: "POST" } });
}

function eventStream(
  body: ReadableStream<Uint8Array> | undefined,
  headers: Record<string, string>,
): Response {
  return new Response(body, {
    headers: { ...headers, "content-type": "text/event-stream", "x-accel-buffering": "no" },
  });
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
  throw notAcceptable();
}

function notAcceptable(): Refusal {
  return new Refusal(code.invalidRequest, "Accept application/json and text/event-stream.", { status: 406 });
}
