import { randomUUID } from "node:crypto";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import {
  type EventStore,
  StreamableHTTPServerTransport,
} from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import {
  CallToolRequestSchema,
  type JSONRPCMessage,
  ListToolsRequestSchema,
  SubscribeRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { startLoopbackServer } from "./loopback-server.ts";

/** Everything that was sent, and on which stream. */
class Events implements EventStore {
  readonly #all: { id: string; stream: string; message: JSONRPCMessage }[] = [];

  async storeEvent(stream: string, message: JSONRPCMessage): Promise<string> {
    const id = `${stream}/${this.#all.length}`;
    this.#all.push({ id, stream, message });
    return id;
  }

  async getStreamIdForEventId(id: string): Promise<string | undefined> {
    return this.#all.find((event) => event.id === id)?.stream;
  }

  async replayEventsAfter(
    last: string,
    { send }: { send(id: string, message: JSONRPCMessage): Promise<void> },
  ): Promise<string> {
    const at = this.#all.findIndex(({ id }) => id === last);
    const stream = this.#all[at]?.stream ?? "";
    for (const event of this.#all.slice(at + 1))
      if (event.stream === stream && Object.keys(event.message).length > 0)
        await send(event.id, event.message);
    return stream;
  }
}

export interface PollingUpstream {
  url: string;
  /** Methods of the requests, in the order of arrival. */
  readonly methods: string[];
  /** Sends a notification on the standing stream of every session. */
  tell(method: string, params?: Record<string, unknown>): Promise<void>;
  close(): Promise<void>;
}

/**
 * A server of the official SDK v1 (2025-11-25) that can be polled (SEP-1699). Its tool `poll` ends its stream and answers
 * after it; its tool `ask` asks on the standing stream of its session, as servers do that name no request.
 */
export async function startPollingUpstream(): Promise<PollingUpstream> {
  const sessions = new Map<string, { transport: StreamableHTTPServerTransport; server: Server }>();
  const methods: string[] = [];
  const listening = await startLoopbackServer(async (req, res) => {
    methods.push(req.method ?? "");
    const known = sessions.get(String(req.headers["mcp-session-id"] ?? ""));
    if (known) return known.transport.handleRequest(req, res);
    if (req.headers["mcp-session-id"]) return void res.writeHead(404).end();
    const server = pollingServer();
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      eventStore: new Events(),
      retryInterval: 20,
      onsessioninitialized: (id) => void sessions.set(id, { transport, server }),
      onsessionclosed: (id) => void sessions.delete(id),
    });
    await server.connect(transport);
    await transport.handleRequest(req, res);
  });
  return {
    url: `${listening.origin}/mcp`,
    methods,
    tell: async (method, params = {}) => {
      for (const { server } of sessions.values()) await server.notification({ method, params });
    },
    close: async () => {
      for (const { transport } of sessions.values()) await transport.close();
      await listening.close();
    },
  };
}

function pollingServer(): Server {
  const capabilities = { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} };
  const server = new Server({ name: "polling", version: "1.0.0" }, { capabilities });
  const inputSchema = { type: "object" as const };
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: ["poll", "ask"].map((name) => ({ name, inputSchema })),
  }));
  server.setRequestHandler(SubscribeRequestSchema, () => ({}));
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
    if (params.name === "poll") {
      await extra.sendNotification({ method: "notifications/message", params: { level: "info", data: 1 } });
      extra.closeSSEStream?.();
      await extra.sendNotification({ method: "notifications/message", params: { level: "info", data: 2 } });
      return { content: [{ type: "text", text: "polled" }] };
    }
    const requestedSchema = { type: "object" as const, properties: { colour: { type: "string" as const } } };
    const told = await server.elicitInput({ mode: "form", message: "Which?", requestedSchema });
    return { content: [{ type: "text", text: JSON.stringify(told) }] };
  });
  return server;
}
