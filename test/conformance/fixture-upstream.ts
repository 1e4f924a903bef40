import { randomUUID } from "node:crypto";
import { toNodeHandler } from "@modelcontextprotocol/node";
import {
  createMcpHandler,
  createRequestStateCodec,
  type EventStore,
  hostHeaderValidationResponse,
  isLegacyRequest,
  type JSONRPCMessage,
  localhostAllowedHostnames,
  localhostAllowedOrigins,
  McpServer,
  originValidationResponse,
  WebStandardStreamableHTTPServerTransport,
} from "@modelcontextprotocol/server";
import { type LoopbackServer, startLoopbackServer } from "../peers/loopback-server.ts";
import { type RoundState, registerAskingTools } from "./fixture-input.ts";
import { registerNewPrompt, registerPrompts, registerResources } from "./fixture-prompts.ts";
import { FixtureTasks } from "./fixture-tasks.ts";
import { type FixtureHooks, registerNewTool, registerTools } from "./fixture-tools.ts";

const states = createRequestStateCodec<RoundState>({ key: randomUUID().repeat(2) });
const capabilities = {
  tools: { listChanged: true },
  prompts: { listChanged: true },
  resources: { listChanged: true, subscribe: true },
  logging: {},
  completions: {},
};

/**
 * The server that the suite's server scenarios want, of the official SDK v2: everything in `fixture-*.ts`, 2026-07-28
 * without sessions and 2025-11-25 with them. `eras` leaves one out.
 */
export async function startFixtureUpstream(
  options: { eras?: "modern" | "legacy" | "both" } = {},
): Promise<FixtureUpstream> {
  return new FixtureUpstream(await startLoopbackServer(), options.eras ?? "both");
}

interface Session {
  server: McpServer;
  transport: WebStandardStreamableHTTPServerTransport;
}

export class FixtureUpstream {
  readonly url: string;
  readonly #listening: LoopbackServer;
  readonly #eras: "modern" | "legacy" | "both";
  readonly #sessions = new Map<string, Session>();
  /** What came while the suite ran. */
  readonly #new = { tools: 0, prompts: 0 };
  readonly #tasks = new FixtureTasks();
  readonly #modern = createMcpHandler(() => this.#make("modern"), { legacy: "reject" });

  constructor(listening: LoopbackServer, eras: "modern" | "legacy" | "both") {
    this.#listening = listening;
    this.#eras = eras;
    this.url = `${listening.origin}/mcp`;
    const handler = toNodeHandler({ fetch: (request: Request) => this.#answer(request) });
    listening.server.on("request", (req, res) => {
      // A client that goes while it is still talking is no fault of the test.
      handler(req, res).catch(() => res.destroy());
    });
  }

  async close(): Promise<void> {
    await this.#modern.close();
    for (const { server } of this.#sessions.values()) await server.close();
    await this.#listening.close();
  }

  async #answer(request: Request): Promise<Response> {
    const foreign =
      hostHeaderValidationResponse(request, localhostAllowedHostnames()) ??
      originValidationResponse(request, localhostAllowedOrigins());
    if (foreign) return foreign;
    if (new URL(request.url).pathname !== "/mcp") return new Response("not found", { status: 404 });
    const legacy = request.method !== "POST" || (await isLegacyRequest(request.clone()));
    const era = this.#eras === "modern" || (this.#eras === "both" && !legacy) ? "modern" : "legacy";
    const ofTasks = await this.#tasks.answer(request, era);
    if (ofTasks) return ofTasks;
    return era === "modern" ? this.#modern.fetch(request) : this.#answerSession(request);
  }

  async #answerSession(request: Request): Promise<Response> {
    const id = request.headers.get("mcp-session-id");
    const known = id === null ? undefined : this.#sessions.get(id);
    if (known) return known.transport.handleRequest(request);
    if (id !== null) return new Response("unknown session", { status: 404 });
    const server = this.#make("legacy");
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (made) => void this.#sessions.set(made, { server, transport }),
      onsessionclosed: (gone) => void this.#sessions.delete(gone),
      eventStore: new Events(),
      retryInterval: 50,
    });
    await server.connect(transport);
    return transport.handleRequest(request);
  }

  #make(era: "modern" | "legacy"): McpServer {
    const server = new McpServer(
      { name: "conformance-fixture", version: "1.0.0" },
      {
        capabilities: { ...capabilities, ...this.#tasks.capabilities(era) },
        requestState: { verify: states.verify },
      },
    );
    registerTools(server, this.#hooks());
    registerAskingTools(server, states);
    this.#tasks.register(server);
    registerPrompts(server);
    registerResources(server);
    for (let n = 1; n <= this.#new.tools; n += 1) registerNewTool(server, n);
    for (let n = 1; n <= this.#new.prompts; n += 1) registerNewPrompt(server, n);
    server.server.setRequestHandler("resources/subscribe", () => ({}));
    server.server.setRequestHandler("resources/unsubscribe", () => ({}));
    return server;
  }

  #hooks(): FixtureHooks {
    return {
      toolsChanged: () => {
        this.#new.tools += 1;
        this.#modern.notify.toolsChanged();
        // Sessions are told by the registration.
        for (const { server } of this.#sessions.values()) registerNewTool(server, this.#new.tools);
      },
      promptsChanged: () => {
        this.#new.prompts += 1;
        this.#modern.notify.promptsChanged();
        for (const { server } of this.#sessions.values()) registerNewPrompt(server, this.#new.prompts);
      },
    };
  }
}

/** What a session said, so that a client that comes back misses nothing. */
class Events implements EventStore {
  readonly #events: { id: string; stream: string; message: JSONRPCMessage }[] = [];

  async storeEvent(stream: string, message: JSONRPCMessage): Promise<string> {
    const id = String(this.#events.length + 1);
    this.#events.push({ id, stream, message });
    return id;
  }

  async getStreamIdForEventId(id: string): Promise<string | undefined> {
    return this.#events.find((event) => event.id === id)?.stream;
  }

  async replayEventsAfter(
    last: string,
    { send }: { send: (id: string, message: JSONRPCMessage) => Promise<void> },
  ): Promise<string> {
    const from = this.#events.findIndex((event) => event.id === last);
    const stream = this.#events[from]?.stream ?? "";
    for (const event of this.#events.slice(from + 1)) {
      if (event.stream === stream && Object.keys(event.message).length > 0)
        await send(event.id, event.message);
    }
    return stream;
  }
}
