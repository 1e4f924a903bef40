/**
 * The upstream of the benchmark, in a process of its own: as cheap as an answer to a 2026-07-28 call can be. It counts
 * what reaches it. `/open` takes anybody, `/protected` wants a bearer token and says where it comes from.
 *
 *   node bench/upstream.ts <issuer of the tokens>
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { startLoopbackServer } from "../test/peers/loopback-server.ts";
import { serveParent } from "./child.ts";

export const toolName = "answer";

/** What every result of a call contains; the load generator looks for it. */
export const resultMark = "the benchmark upstream answers";

export interface UpstreamReady {
  origin: string;
}

/** Requests so far, by path and JSON-RPC method. */
export type UpstreamCounts = Record<string, number>;

const tool = { name: toolName, description: "Answers.", inputSchema: { type: "object" } };
const complete = {
  resultType: "complete",
  _meta: { "io.modelcontextprotocol/serverInfo": { name: "bench", version: "1" } },
};
const results: Record<string, object> = {
  "tools/call": { ...complete, content: [{ type: "text", text: `${resultMark}, always with these words.` }] },
  "tools/list": { ...complete, ttlMs: 0, cacheScope: "private", tools: [tool] },
  "server/discover": {
    ...complete,
    ttlMs: 0,
    cacheScope: "private",
    supportedVersions: ["2026-07-28"],
    capabilities: { tools: {} },
  },
};
const prepared = new Map(Object.entries(results).map(([method, result]) => [method, JSON.stringify(result)]));

/** Modern only: what it says to `initialize` and its like (2026-07-28, "Era compatibility"). */
const unsupported = JSON.stringify({
  code: -32022,
  message: "Unsupported protocol version",
  data: { supported: ["2026-07-28"] },
});

interface Reply {
  status: number;
  body: string;
  headers?: Record<string, string>;
}

async function serveUpstream(issuer: string): Promise<void> {
  const counts: UpstreamCounts = {};
  let metadata: Metadata | undefined;
  const { origin } = await startLoopbackServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk: Buffer) => chunks.push(chunk));
    req.on("end", () => send(res, replyTo(req, Buffer.concat(chunks), metadata!, counts)));
  });
  metadata = metadataOf(origin, issuer);
  serveParent({ origin } satisfies UpstreamReady, () => counts);
}

/** RFC 9728. */
interface Metadata {
  path: string;
  url: string;
  document: string;
}

function metadataOf(origin: string, issuer: string): Metadata {
  const path = "/.well-known/oauth-protected-resource/protected";
  const document = {
    resource: `${origin}/protected`,
    authorization_servers: [issuer],
    scopes_supported: ["mcp"],
  };
  return { path, url: origin + path, document: JSON.stringify(document) };
}

function replyTo(
  { url, method, headers }: IncomingMessage,
  body: Buffer,
  metadata: Metadata,
  counts: UpstreamCounts,
): Reply {
  if (url === metadata.path) return { status: 200, body: metadata.document };
  if (method !== "POST" || (url !== "/open" && url !== "/protected")) return { status: 404, body: "{}" };
  const message = JSON.parse(body.toString("utf8")) as { id?: unknown; method: string };
  const counted = `${url} ${message.method}`;
  counts[counted] = (counts[counted] ?? 0) + 1;
  if (url === "/protected" && !headers.authorization?.startsWith("Bearer ")) {
    const challenge = `Bearer resource_metadata="${metadata.url}", scope="mcp"`;
    return { status: 401, body: "{}", headers: { "www-authenticate": challenge } };
  }
  const result = prepared.get(message.method);
  const head = `{"jsonrpc":"2.0","id":${JSON.stringify(message.id ?? null)}`;
  if (result !== undefined) return { status: 200, body: `${head},"result":${result}}` };
  return { status: 400, body: `${head},"error":${unsupported}}` };
}

function send(res: ServerResponse, { status, body, headers }: Reply): void {
  const length = Buffer.byteLength(body);
  res.writeHead(status, { "content-type": "application/json", "content-length": length, ...headers });
  res.end(body);
}

if (import.meta.main) await serveUpstream(process.argv[2]!);
