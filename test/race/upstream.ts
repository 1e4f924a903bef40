import type { IncomingMessage, ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import type { Provider } from "../crash/provider.ts";
import { startLoopbackServer } from "../peers/loopback-server.ts";

const tool = { name: "whoami", description: "Says whose token it was.", inputSchema: { type: "object" } };
const common = {
  resultType: "complete",
  _meta: { "io.modelcontextprotocol/serverInfo": { name: "race", version: "1" } },
};

/** The cheapest server of 2026-07-28 whose every answer depends on the token. */
export class ProtectedServer {
  /** Calls with a token that does not count. */
  refused = 0;
  calls = 0;
  url = "";
  readonly #provider: Provider;
  #close: () => Promise<void> = async () => {};

  constructor(provider: Provider) {
    this.#provider = provider;
  }

  async start(): Promise<this> {
    const { origin, close } = await startLoopbackServer((req, res) => void this.#serve(req, res));
    this.url = `${origin}/mcp`;
    this.#close = close;
    return this;
  }

  close(): Promise<void> {
    return this.#close();
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const sent = await text(req).catch(() => "");
    const [status, body, headers] = this.#answer(req, sent);
    res.writeHead(status, { "content-type": "application/json", ...headers });
    res.end(JSON.stringify(body));
  }

  #answer(req: IncomingMessage, sent: string): [number, object, Record<string, string>?] {
    const metadata = `${new URL(this.url).origin}/.well-known/oauth-protected-resource/mcp`;
    if (req.url === "/.well-known/oauth-protected-resource/mcp")
      return [200, { resource: this.url, authorization_servers: [this.#provider.issuer] }];
    if (req.url !== "/mcp" || req.method !== "POST") return [404, {}];
    const { id, method } = JSON.parse(sent) as { id?: unknown; method: string };
    const account = this.#provider.accountOf((req.headers.authorization ?? "").replace("Bearer ", ""));
    if (method === "tools/call") this.calls += 1;
    if (account === undefined) {
      if (method === "tools/call") this.refused += 1;
      return [401, {}, { "www-authenticate": `Bearer resource_metadata="${metadata}"` }];
    }
    const result = resultOf(method, account);
    if (result) return [200, { jsonrpc: "2.0", id, result: { ...common, ...result } }];
    const error = {
      code: -32022,
      message: "Unsupported protocol version",
      data: { supported: ["2026-07-28"] },
    };
    return [400, { jsonrpc: "2.0", id: id ?? null, error }];
  }
}

function resultOf(method: string, account: string): object | undefined {
  const cached = { ttlMs: 0, cacheScope: "private" };
  switch (method) {
    case "tools/call":
      return { content: [{ type: "text", text: account }] };
    case "tools/list":
      return { ...cached, tools: [tool] };
    case "server/discover":
      return { ...cached, supportedVersions: ["2026-07-28"], capabilities: { tools: {} } };
    default:
      return undefined;
  }
}
