import { z } from "zod";
import type { Gone, Seal, World } from "../base/index.ts";
import {
  answerWeb,
  type DirectContext,
  type DirectHandler,
  type HeaderReader,
  type PlainAnswer,
  type Route,
} from "../http/index.ts";
import { route } from "../identity/index.ts";
import { type Answer, type Message, oneMessage, readMessage } from "./body.ts";
import type { Caller } from "./caller.ts";
import type { ClientStreams } from "./client-streams.ts";
import type { Client } from "./era.ts";
import type { EventLine } from "./event-line.ts";
import { errorReply } from "./failures.ts";
import { Listener } from "./listener.ts";
import type { Mailbox } from "./mailbox.ts";
import { code, Refusal } from "./refusal.ts";
import { type NotificationSink, type Reply, writeReply } from "./reply.ts";

/** What the alias leaves to the endpoint: who calls, and what a message comes to. */
export interface SseDoor {
  guarded(
    context: DirectContext,
    slug: undefined,
    work: (caller: Caller, headers: Record<string, string>) => Promise<PlainAnswer | Response>,
  ): Promise<PlainAnswer | Response>;
  /** Undefined: nothing is to be answered. */
  take(message: Message | Answer, from: SseSender): Promise<Reply | undefined>;
}

export interface SseSender {
  caller: Caller;
  headers: HeaderReader;
  gone: Gone;
  requestId: string;
  /** Absent: it reads nothing but answers. */
  send?: NotificationSink;
  /** The stream on which it hears of changes. */
  listener?: Listener;
}

interface Leg {
  caller: Caller;
  line: EventLine;
  headers: HeaderReader;
  departure: AbortController;
  listener: Listener;
  /** Given by `initialize`; the client of this transport does not send it back. */
  sessionId?: string;
}

interface Forwarded {
  name: string;
  binding: string;
  message: Message | Answer;
  requestId: string;
}

interface Parts {
  world: World;
  seal: Seal;
  mailbox: Mailbox;
  streams: ClientStreams;
}

const PURPOSE = "sse_stream";
/** An answer goes out whole, however large it may be. */
const HIGH_WATER = 20 * 1024 * 1024;

/**
 * The transport of 2024-11-05 under `/sse`: a stream that names an address for messages and carries every answer. The
 * address is sealed for its caller, who proves itself with each message; a message that reaches another replica travels to
 * the one that holds the stream.
 */
export class SseAlias {
  readonly #parts: Parts;
  readonly #door: SseDoor;
  readonly #legs = new Map<string, Leg>();

  constructor(parts: Parts, door: SseDoor) {
    this.#parts = parts;
    this.#door = door;
    parts.mailbox.on<Forwarded>("sse", ({ name, binding, message, requestId }) => {
      const leg = this.#legs.get(name);
      if (leg?.caller.binding === binding) void this.#take(leg, message, requestId);
    });
  }

  open(context: DirectContext): Promise<PlainAnswer | Response> {
    return this.#door.guarded(context, undefined, async (caller, headers) => {
      const name = Buffer.from(this.#parts.world.random(16)).toString("base64url");
      const departure = new AbortController();
      const client: Client = {
        era: "legacy",
        version: "2024-11-05",
        capabilities: {},
        opensUrls: false,
        session: name,
      };
      const ended = () => {
        this.#legs.delete(name);
        departure.abort();
      };
      const { headers: sent } = context.inbound;
      const listener = new Listener({ caller, client, headers: sent });
      const { body, line } = this.#parts.streams.open(listener, null, {
        ended,
        isResumable: false,
        highWater: HIGH_WATER,
      });
      this.#legs.set(name, { caller, line, headers: sent, departure, listener });
      line.event("endpoint", `/sse/${this.#address(caller, name)}`);
      return new Response(body, {
        headers: { ...headers, "content-type": "text/event-stream", "x-accel-buffering": "no" },
      });
    });
  }

  post(context: DirectContext): Promise<PlainAnswer | Response> {
    return this.#door.guarded(context, undefined, async (caller, headers) => {
      const { requestId } = context;
      const message = await readMessage(context.inbound);
      if ("entries" in message) throw oneMessage();
      const [replica, name] = this.#read(caller, context.params.stream ?? "");
      const leg = this.#legs.get(name);
      if (leg) void this.#take(leg, message, requestId);
      else if (replica === this.#parts.mailbox.replica) throw noStream();
      else
        await this.#parts.mailbox.send(replica, "sse", { name, binding: caller.binding, message, requestId });
      return new Response(null, { status: 202, headers });
    });
  }

  async #take(leg: Leg, message: Message | Answer, requestId: string): Promise<void> {
    const { caller, line, departure, listener } = leg;
    const headers: HeaderReader = {
      // The session is the stream's; everything else is what the stream was opened with.
      get: (name) => (name === "mcp-session-id" ? (leg.sessionId ?? null) : leg.headers.get(name)),
    };
    const send: NotificationSink = (notification) => line.send(notification);
    let reply: Reply | undefined;
    try {
      const gone = departure.signal;
      reply = await this.#door.take(message, { caller, headers, gone, requestId, send, listener });
    } catch (error) {
      reply = errorReply(error, { requestId, log: this.#parts.world.log });
    }
    if (reply === undefined || message.id === undefined) return;
    if ("result" in reply && reply.headers?.["mcp-session-id"])
      leg.sessionId = reply.headers["mcp-session-id"];
    line.event("message", writeReply(message.id, reply));
  }

  #address(caller: Caller, name: string): string {
    const text = JSON.stringify([this.#parts.mailbox.replica, name]);
    return this.#parts.seal.seal(text, [PURPOSE, caller.binding]).toString("base64url");
  }

  /** Throws 404 for what is not an address of this caller's. */
  #read(caller: Caller, address: string): [replica: string, name: string] {
    try {
      const sealed = Buffer.from(address, "base64url");
      return JSON.parse(this.#parts.seal.openText(sealed, [PURPOSE, caller.binding]));
    } catch {
      throw noStream();
    }
  }
}

function noStream(): Refusal {
  return new Refusal(code.sessionNotFound, "This stream is not open here. Open it again.", { status: 404 });
}

/** The routes of the alias. */
export function sseRoutes(alias: SseAlias): Route[] {
  const common = {
    tag: "MCP",
    access: "mcp",
    csrf: "none",
    rate: "none",
    errors: "envelope",
  } as const;
  const opened: DirectHandler = (context) => alias.open(context);
  const taken: DirectHandler = (context) => alias.post(context);
  return [
    route({
      ...common,
      method: "GET",
      path: "/sse",
      operationId: "sseGet",
      summary: "The event stream of an MCP client of 2024-11-05",
      refuses: [],
      answers: {
        200: { description: "The address for messages, then every answer", media: ["text/event-stream"] },
      },
      handle: (context) => answerWeb(opened, context as never),
      direct: opened,
    }),
    route({
      ...common,
      method: "POST",
      path: "/sse/{stream}",
      operationId: "sseMessagePost",
      summary: "One JSON-RPC message for such a stream; its answer comes on the stream",
      params: z.object({ stream: z.string() }),
      refuses: [400, 404, 413, 415],
      answers: { 202: { description: "Taken" } },
      handle: (context) => answerWeb(taken, context as never),
      direct: taken,
    }),
  ];
}
