import { z } from "zod";
import { answerWeb, type DirectHandler, type Route } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { Endpoint } from "./endpoint.ts";
import type { McpParts } from "./parts.ts";
import { sseRoutes } from "./sse-alias.ts";
import { toolExecuteRoutes } from "./tool-execute.ts";

/** The routes of `/mcp` and `/mcp/{slug}`. */
export function mcpRoutes(parts: McpParts): Route[] {
  const endpoint = new Endpoint(parts);
  return [
    ...routesAt("/mcp", endpoint),
    ...routesAt("/mcp/{slug}", endpoint),
    ...sseRoutes(endpoint.sse),
    ...toolExecuteRoutes(endpoint),
  ];
}

const slugParams = z.object({ slug: z.string() });

function routesAt(path: "/mcp" | "/mcp/{slug}", endpoint: Endpoint): Route[] {
  const slugged = path === "/mcp/{slug}";
  const methods = { POST: "post", GET: "listen", DELETE: "end", OPTIONS: "preflight" } as const;
  return (Object.keys(methods) as (keyof typeof methods)[]).map((method) => {
    const direct: DirectHandler = (context) =>
      endpoint[methods[method]](context, slugged ? context.params.slug : undefined);
    return route({
      method,
      path,
      operationId: `mcp${slugged ? "Slug" : ""}${method[0]}${method.slice(1).toLowerCase()}`,
      summary: summaries[method],
      tag: "MCP",
      access: "mcp",
      csrf: "none",
      rate: "none",
      errors: "envelope",
      params: slugged ? slugParams : undefined,
      refuses: method === "POST" ? [400, 404, 406, 413, 415] : method === "OPTIONS" ? [] : [400, 404],
      answers: answers[method],
      handle: (context) => answerWeb(direct, context as never),
      direct,
    });
  });
}

const summaries = {
  POST: "One JSON-RPC message of an MCP client (Streamable HTTP, 2025-03-26 to 2026-07-28), or a batch of them (2025-03-26)",
  GET: "The stream of a session, for what belongs to no call (revisions before 2026-07-28)",
  DELETE: "Ends a session (revisions before 2026-07-28)",
  OPTIONS: "CORS preflight for the allowed origins",
};
const rpcMessage = z.looseObject({ jsonrpc: z.literal("2.0") });
const answers = {
  POST: {
    200: {
      description: "The answer, as JSON or as an event stream; of a batch, a list of answers",
      schema: z.union([rpcMessage, z.array(rpcMessage)]),
      media: ["text/event-stream"],
    },
    202: { description: "Taken" },
  },
  GET: {
    200: {
      description: "Messages of the server, until the client or the session goes",
      media: ["text/event-stream"],
    },
    405: { description: "Without a session there is no stream: use POST" },
  },
  DELETE: {
    204: { description: "The session is over, on every replica" },
    405: { description: "Without a session there is nothing to end: use POST" },
  },
  OPTIONS: { 204: { description: "What is allowed" } },
};
