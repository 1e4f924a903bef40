import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { fileURLToPath } from "node:url";
import { toNodeHandler } from "@modelcontextprotocol/node";
import { SSEServerTransport } from "@modelcontextprotocol/sdk/server/sse.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { createMcpHandler, WebStandardStreamableHTTPServerTransport } from "@modelcontextprotocol/server";
import { startEverythingUpstream } from "../peers/everything-upstream.ts";
import { startLoopbackServer } from "../peers/loopback-server.ts";
import { Peer } from "./peer.ts";
import { serverOfSdk1, serverOfSdk2 } from "./peer-servers.ts";
import { pinned, type Revision } from "./revisions.ts";

/** An upstream of the matrix that runs. */
export interface Started {
  /** Its entry in the configuration file, beside the name. */
  entry: Record<string, unknown>;
  close(): Promise<void>;
}

export interface UpstreamKind {
  name: string;
  revision: Revision;
  label: string;
  /** The official `server-everything`: it has tools of its own instead of the peer's. */
  isEverything?: boolean;
  /** Started by each replica for itself. */
  isProgram?: boolean;
  start(kind: UpstreamKind): Promise<Started>;
}

type Serve = (req: IncomingMessage, res: ServerResponse) => Promise<void>;

export const upstreamKinds: readonly UpstreamKind[] = [
  { name: "sse2024", revision: "2024-11-05", label: "SDK v1 over HTTP+SSE", start: onHttp(serveSse, "sse") },
  { name: "http2503", revision: "2025-03-26", label: "SDK v1", start: onHttp(serveSessions) },
  { name: "http2506", revision: "2025-06-18", label: "SDK v1", start: onHttp(serveSessions) },
  { name: "http2511", revision: "2025-11-25", label: "SDK v2", start: onHttp(serveSessions2) },
  { name: "http2607", revision: "2026-07-28", label: "SDK v2", start: onHttp(serveModern) },
  { name: "program", revision: "2025-11-25", label: "SDK v1 over stdio", isProgram: true, start: program },
  {
    name: "everything",
    revision: "2025-11-25",
    label: "server-everything",
    isEverything: true,
    start: everything,
  },
];

function onHttp(
  serveOf: (peer: Peer) => { serve: Serve; close?(): Promise<void> },
  transport: "http" | "sse" = "http",
): UpstreamKind["start"] {
  return async ({ name, revision }) => {
    const listening = await startLoopbackServer();
    const { serve, close } = serveOf(new Peer(name, revision));
    // Both ends are in one busy process: what the far end closes as idle must not be in use at the near end meanwhile.
    listening.server.keepAliveTimeout = 60_000;
    listening.server.on("request", (req, res) => {
      // A client that goes while it is still talking is no fault of the test.
      serve(req, res).catch(() => res.destroy());
    });
    const path = transport === "sse" ? "/sse" : "/mcp";
    return {
      entry: { connection_type: transport, connection_string: listening.origin + path },
      close: async () => {
        await close?.();
        await listening.close();
      },
    };
  };
}

/** The transport of 2024-11-05: a stream, and an address for messages. */
function serveSse(peer: Peer): { serve: Serve } {
  const streams = new Map<string, SSEServerTransport>();
  return {
    serve: async (req, res) => {
      const url = new URL(req.url!, "http://peer");
      if (req.method === "POST") {
        const transport = streams.get(url.searchParams.get("sessionId") ?? "");
        if (transport) await transport.handlePostMessage(req, res);
        else res.writeHead(404).end();
        return;
      }
      const transport = new SSEServerTransport("/message", res);
      streams.set(transport.sessionId, transport);
      res.on("close", () => streams.delete(transport.sessionId));
      await serverOfSdk1(peer).connect(pinned(transport, peer.revision));
    },
  };
}

/** Streamable HTTP with sessions. */
function serveSessions(peer: Peer): { serve: Serve } {
  const sessions = new Map<string, StreamableHTTPServerTransport>();
  return {
    serve: async (req, res) => {
      const id = req.headers["mcp-session-id"];
      const known = typeof id === "string" ? sessions.get(id) : undefined;
      if (known) return known.handleRequest(req, res);
      if (id !== undefined) return void res.writeHead(404).end();
      const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: (made) => void sessions.set(made, transport),
      });
      await serverOfSdk1(peer).connect(pinned(transport, peer.revision) as never);
      await transport.handleRequest(req, res);
    },
  };
}

function serveSessions2(peer: Peer): { serve: Serve } {
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>();
  const fetch = async (request: Request) => {
    const ofTasks = await peer.tasks?.answer(request, "legacy");
    if (ofTasks) return ofTasks;
    const id = request.headers.get("mcp-session-id");
    const known = id === null ? undefined : sessions.get(id);
    if (known) return known.handleRequest(request);
    if (id !== null) return new Response(null, { status: 404 });
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (made) => void sessions.set(made, transport),
    });
    await serverOfSdk2(peer).connect(transport);
    return transport.handleRequest(request);
  };
  return { serve: toNodeHandler({ fetch }) };
}

function serveModern(peer: Peer): { serve: Serve; close(): Promise<void> } {
  const handler = createMcpHandler(() => serverOfSdk2(peer), { legacy: "reject" });
  peer.onChange((change) => {
    if (change.method === "notifications/resources/list_changed") handler.notify.resourcesChanged();
    else handler.notify.resourceUpdated(change.params.uri);
  });
  const fetch = async (request: Request) =>
    (await peer.tasks?.answer(request, "modern")) ?? handler.fetch(request);
  return { serve: toNodeHandler({ fetch }), close: handler.close };
}

async function program({ name }: UpstreamKind): Promise<Started> {
  const args = [fileURLToPath(new URL("program.ts", import.meta.url)), `--name=${name}`];
  return {
    entry: { connection_type: "stdio", stdio_config: { command: process.execPath, args } },
    // It ends with the gateway that started it.
    close: async () => {},
  };
}

async function everything(): Promise<Started> {
  const { url, close } = await startEverythingUpstream();
  return { entry: { connection_type: "http", connection_string: url }, close };
}
