import { randomUUID } from "node:crypto";
import type { RecordedRequest } from "./recorded-request.ts";
import { answer, type Handler } from "./scripted-answers.ts";

/** What the usual answers depend on; a scripted upstream has it. */
export interface UsualState {
  era: "legacy" | "modern";
  tools: { name: string }[];
  sessions: Set<string>;
  protocolVersion: string | undefined;
  capabilities: Record<string, unknown> | undefined;
}

const MODERN = "2026-07-28";
const LEGACY = ["2025-11-25", "2025-06-18", "2025-03-26"];
const META = "io.modelcontextprotocol/";
const SERVER_INFO = { name: "scripted", version: "1.0.0" };

/** The plain answer of an MCP server of that era. */
export function usualAnswer(state: UsualState, request: RecordedRequest): Handler {
  return state.era === "modern" ? modernAnswer(state, request) : legacyAnswer(state, request);
}

function legacyAnswer(state: UsualState, request: RecordedRequest): Handler {
  if (request.rpc === "initialize") return initialize(state, request);
  const session = String(request.headers["mcp-session-id"] ?? "");
  if (!session) return answer.error(-32000, "Bad Request: no session", undefined, 400);
  if (!state.sessions.has(session)) return answer.error(-32001, "Session not found", undefined, 404);
  if (request.method === "DELETE") {
    state.sessions.delete(session);
    return answer.http(200);
  }
  if (request.method !== "POST") return answer.http(405);
  if (request.body?.id === undefined) return answer.http(202);
  return request.rpc === "ping" ? answer.result({}) : methodAnswer(state, request, {});
}

function initialize(state: UsualState, request: RecordedRequest): Handler {
  const asked = String(request.body?.params?.protocolVersion);
  const session = randomUUID();
  state.sessions.add(session);
  return (exchange) => {
    exchange.res.setHeader("mcp-session-id", session);
    return answer.result({
      protocolVersion: state.protocolVersion ?? (LEGACY.includes(asked) ? asked : LEGACY[0]),
      capabilities: state.capabilities ?? { tools: { listChanged: true } },
      serverInfo: SERVER_INFO,
    })(exchange);
  };
}

function modernAnswer(state: UsualState, request: RecordedRequest): Handler {
  const { body, headers } = request;
  if (request.method !== "POST") return answer.http(405);
  if (!body) return answer.error(-32700, "Parse error", undefined, 400);
  const requested = body.params?._meta?.[`${META}protocolVersion`];
  if (requested !== MODERN) {
    return answer.error(-32022, "Unsupported protocol version", { supported: [MODERN], requested }, 400);
  }
  const versionFits = headers["mcp-protocol-version"] === requested;
  const nameFits = body.method !== "tools/call" || headers["mcp-name"] === body.params?.name;
  if (!versionFits || !nameFits || headers["mcp-method"] !== body.method) {
    return answer.error(-32020, "Headers do not match the body", undefined, 400);
  }
  if (body.id === undefined) return answer.http(202);
  const complete = { resultType: "complete", _meta: { [`${META}serverInfo`]: SERVER_INFO } };
  const cacheable = { ...complete, ttlMs: 0, cacheScope: "private" };
  if (body.method === "server/discover") {
    const capabilities = state.capabilities ?? { tools: {} };
    return answer.result({ ...cacheable, supportedVersions: [MODERN], capabilities });
  }
  return methodAnswer(state, request, body.method === "tools/list" ? cacheable : complete);
}

function methodAnswer(state: UsualState, { body }: RecordedRequest, extra: Record<string, unknown>): Handler {
  if (body?.method === "tools/list") return answer.result({ tools: state.tools, ...extra });
  if (body?.method !== "tools/call") {
    return answer.error(-32601, "Method not found", undefined, state.era === "modern" ? 404 : 200);
  }
  const name = body.params?.name;
  if (!state.tools.some((tool) => tool.name === name)) return answer.error(-32602, `Unknown tool ${name}`);
  const text = JSON.stringify(body.params?.arguments ?? {});
  return answer.result({ content: [{ type: "text", text }], ...extra });
}
