import { toNodeHandler } from "@modelcontextprotocol/node";
import { createMcpHandler, type InputRequest, inputRequired, McpServer } from "@modelcontextprotocol/server";
import { z } from "zod";
import { startLoopbackServer } from "./loopback-server.ts";

export interface AskingUpstream {
  url: string;
  close(): Promise<void>;
}

const questions: Record<string, () => InputRequest> = {
  form: () =>
    inputRequired.elicit({
      message: "Which colour?",
      requestedSchema: { type: "object", properties: { colour: { type: "string" } } },
    }),
  page: () => inputRequired.elicitUrl({ message: "Sign in there", url: "https://provider.example/sign-in" }),
  sampling: () =>
    inputRequired.createMessage({
      messages: [{ role: "user", content: { type: "text", text: "Say something" } }],
      maxTokens: 10,
    }),
  roots: () => inputRequired.listRoots(),
};

/** An MCP server of the official SDK (2026-07-28): its tool `ask` wants to know something and says what it was told. */
export async function startAskingUpstream(): Promise<AskingUpstream> {
  const listening = await startLoopbackServer();
  const handler = createMcpHandler(askingServer, { legacy: "reject" });
  const serve = toNodeHandler(handler);
  listening.server.on("request", (req, res) => {
    serve(req, res).catch(() => res.destroy());
  });
  return {
    url: `${listening.origin}/mcp`,
    close: async () => {
      await handler.close();
      await listening.close();
    },
  };
}

function askingServer(): McpServer {
  const server = new McpServer({ name: "asking", version: "1.0.0" });
  const inputSchema = z.object({ what: z.enum(["form", "page", "sampling", "roots"]) });
  server.registerTool("ask", { description: "Asks back", inputSchema }, ({ what }, context) => {
    const { inputResponses, requestState } = context.mcpReq;
    const told = inputResponses?.it;
    // The state comes back as it was, or the answer belongs to another question.
    if (told === undefined || requestState() !== what)
      return inputRequired({ inputRequests: { it: questions[what]!() }, requestState: what });
    return { content: [{ type: "text", text: JSON.stringify(told) }] };
  });
  return server;
}
