import type { IncomingMessage, ServerResponse } from "node:http";
import { type LoopbackServer, startLoopbackServer } from "./loopback-server.ts";

type Rpc = { jsonrpc: "2.0"; id?: number | string; method?: string; params?: Record<string, unknown> };

/** A message that was posted, and the connection it belongs to. */
export interface Posted {
  session: Session;
  rpc: Rpc & { result?: unknown; error?: unknown };
  headers: IncomingMessage["headers"];
}

/** One open stream. */
export interface Session {
  id: number;
  headers: IncomingMessage["headers"];
  stream: ServerResponse;
  say(message: object): void;
}

/** A fake upstream of the transport of 2024-11-05 (HTTP with SSE) that does what the test says. */
export class SseUpstream {
  readonly url: string;
  readonly posted: Posted[] = [];
  readonly sessions = new Map<number, Session>();
  opened = 0;
  /** Every request must carry this bearer token, else 401. */
  token: string | undefined;
  /** Named in the first event; `{id}` is the connection's. */
  endpoint = "/message?session={id}";
  /** What a post is answered with instead of being taken. */
  refuse: number | undefined;
  /** Bytes of the stream in place of the `endpoint` event. */
  opening: string | undefined;
  /** What `initialize` declares. */
  capabilities: Record<string, unknown> = { tools: {} };
  /** Answers a request; the usual answer when it returns undefined. */
  on: ((posted: Posted) => object | "nothing" | undefined) | undefined;
  readonly #server: LoopbackServer;

  static async start(): Promise<SseUpstream> {
    return new SseUpstream(await startLoopbackServer());
  }

  private constructor(server: LoopbackServer) {
    this.#server = server;
    this.url = `${server.origin}/sse`;
    server.server.on("request", (request, response) => this.#take(request, response));
  }

  methods(): (string | undefined)[] {
    return this.posted.map(({ rpc }) => rpc.method);
  }

  /** Ends every stream. */
  cut(): void {
    for (const { stream } of this.sessions.values()) stream.destroy();
    this.sessions.clear();
  }

  close(): Promise<void> {
    return this.#server.close();
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    if (this.token !== undefined && request.headers.authorization !== `Bearer ${this.token}`) {
      response.writeHead(401, { "www-authenticate": "Bearer" }).end();
      return;
    }
    const url = new URL(request.url!, this.#server.origin);
    if (request.method === "GET" && url.pathname === "/sse") this.#open(request, response);
    else void this.#post(request, response, this.sessions.get(Number(url.searchParams.get("session"))));
  }

  #open(request: IncomingMessage, stream: ServerResponse): void {
    this.opened += 1;
    const id = this.opened;
    const say = (message: object) =>
      void stream.write(`event: message\ndata: ${JSON.stringify({ jsonrpc: "2.0", ...message })}\n\n`);
    this.sessions.set(id, { id, headers: request.headers, stream, say });
    stream.on("close", () => this.sessions.delete(id));
    stream.writeHead(200, { "content-type": "text/event-stream" });
    stream.write(
      this.opening ?? `: hello\r\nevent: endpoint\r\ndata: ${this.endpoint.replace("{id}", `${id}`)}\r\n\r\n`,
    );
  }

  async #post(
    request: IncomingMessage,
    response: ServerResponse,
    session: Session | undefined,
  ): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (this.refuse !== undefined || !session) {
      response.writeHead(this.refuse ?? 404).end();
      return;
    }
    response.writeHead(202).end("Accepted");
    const rpc = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Rpc;
    const posted = { session, rpc, headers: request.headers };
    this.posted.push(posted);
    if (rpc.id === undefined || rpc.method === undefined) return;
    const answer = this.on?.(posted) ?? usual(rpc, this.capabilities);
    if (answer !== "nothing") session.say({ id: rpc.id, ...answer });
  }
}

function usual({ method, params }: Rpc, capabilities: Record<string, unknown>): object {
  switch (method) {
    case "initialize":
      return {
        result: {
          protocolVersion: "2024-11-05",
          capabilities,
          serverInfo: { name: "sse", version: "1" },
        },
      };
    case "ping":
    case "logging/setLevel":
    case "resources/subscribe":
    case "resources/unsubscribe":
      return { result: {} };
    case "tools/list":
      return { result: { tools: [{ name: "echo", inputSchema: { type: "object" }, "x-unknown": 1 }] } };
    case "tools/call":
      return {
        result: { content: [{ type: "text", text: JSON.stringify(params?.arguments) }], "x-unknown": 1 },
      };
    default:
      return { error: { code: -32601, message: "Method not found" } };
  }
}
