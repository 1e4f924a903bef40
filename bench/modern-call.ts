import { request } from "undici";

/** The JSON-RPC answer to one request of the 2026-07-28 revision. */
export interface RpcAnswer {
  result?: { content?: { text?: string }[]; tools?: { name: string }[]; isError?: boolean };
  error?: { code: number; message: string };
}

/** The headers and body of a request as a 2026-07-28 client sends it. The body is ASCII. */
export function modernRequest(
  token: string,
  method: "tools/call" | "tools/list",
  params: Record<string, unknown> & { name?: string } = {},
): { headers: Record<string, string>; body: string } {
  const _meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": { name: "benchmark", version: "1" },
  };
  return {
    headers: {
      accept: "application/json, text/event-stream",
      "content-type": "application/json",
      authorization: `Bearer ${token}`,
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": method,
      ...(params.name === undefined ? {} : { "mcp-name": params.name }),
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta } }),
  };
}

/** Lists the tools this token may use. */
export async function listTools(url: string, token: string): Promise<string[]> {
  const { result } = await send(url, modernRequest(token, "tools/list"));
  return (result?.tools ?? []).map((tool) => tool.name);
}

/** Calls a tool once; returns the text of its result. Throws with what came instead. */
export async function callTool(url: string, token: string, name: string): Promise<string> {
  const answer = await send(url, modernRequest(token, "tools/call", { name, arguments: {} }));
  const text = answer.result?.content?.[0]?.text;
  if (text === undefined || answer.result?.isError) throw new Error(`${name}: ${JSON.stringify(answer)}`);
  return text;
}

async function send(url: string, { headers, body }: ReturnType<typeof modernRequest>): Promise<RpcAnswer> {
  const answer = await request(url, { method: "POST", headers, body });
  const text = await answer.body.text();
  if (answer.statusCode !== 200) throw new Error(`${url} answered ${answer.statusCode} ${text}`);
  const data = answer.headers["content-type"]?.includes("event-stream") ? lastEvent(text) : text;
  return JSON.parse(data) as RpcAnswer;
}

function lastEvent(stream: string): string {
  return [...stream.matchAll(/^data: ?(.*)$/gm)].at(-1)?.[1] ?? "{}";
}
