import { Problem } from "../base/index.ts";
import {
  type DirectContext,
  envelope,
  type HeaderReader,
  noContent,
  type PlainAnswer,
} from "../http/index.ts";
import type { Notification } from "../relay/index.ts";
import { answerBatch, checkRevision } from "./batch.ts";
import { type Answer, type Batch, type Message, named, readMessage } from "./body.ts";
import { type Caller, Callers } from "./caller.ts";
import { CarriedCalls } from "./carried-calls.ts";
import { ClientAsks } from "./client-asks.ts";
import { ClientStream } from "./client-stream.ts";
import { ClientStreams } from "./client-streams.ts";
import { type Client, isModern, legacyClient, modernClient } from "./era.ts";
import { asRefusal, errorReply } from "./failures.ts";
import { mayNotify } from "./hearing.ts";
import {
  acceptsStream,
  eventStream,
  notAcceptable,
  refuse,
  refuseUnserved,
  sessionOf,
  write,
} from "./http-answers.ts";
import { InFlight } from "./in-flight.ts";
import { Mailbox } from "./mailbox.ts";
import { isCarried, Methods } from "./methods.ts";
import { Origins } from "./origin.ts";
import type { McpParts } from "./parts.ts";
import { Pushes } from "./pushes.ts";
import { Refusal } from "./refusal.ts";
import { type Reply, writeReply } from "./reply.ts";
import { ClientSessions } from "./session.ts";
import { SseAlias, type SseSender } from "./sse-alias.ts";
import { TaskNewsDesk } from "./task-news.ts";
import type { ToolCall } from "./tool-call.ts";
import type { ToolDoor } from "./tool-execute.ts";
import { canBeAsked } from "./upstream-input.ts";

/** What a GET is for where a message would say it. */
const stream = { method: undefined };

/** A message that wants an answer. */
type Request = Message & { id: string | number };

/** What every address of MCP comes to: who calls, what they say, and how the answer goes back. */
export class Endpoint implements ToolDoor {
  readonly #origins: Origins;
  readonly #callers: Callers;
  readonly #sessions: ClientSessions;
  readonly #methods: Methods;
  readonly #inFlight: InFlight;
  readonly #asks: ClientAsks;
  readonly sse: SseAlias;
  readonly #pushes: Pushes;

  constructor(given: McpParts) {
    const mailbox = new Mailbox(given);
    // Whoever calls an upstream from here on reaches what only another replica has.
    const parts: McpParts = { ...given, relay: new CarriedCalls(given, mailbox) };
    this.#origins = new Origins(parts.settings);
    this.#callers = new Callers(parts);
    this.#sessions = new ClientSessions(parts);
    this.#inFlight = new InFlight(parts);
    this.#asks = new ClientAsks(parts.hash, mailbox);
    const streams = parts.streams ?? new ClientStreams(parts);
    const news = new TaskNewsDesk({ ...parts, mailbox, streams });
    this.#sessions.ended.push((session) => {
      streams.endSession(session);
      news.endSession(session);
    });
    this.#methods = new Methods(parts, this.#sessions, mailbox, news);
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
      const told = asRefusal(error, context);
      if (told instanceof Refusal) named(told, message.id);
      throw told;
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
