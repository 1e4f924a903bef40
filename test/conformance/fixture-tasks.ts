import { randomUUID } from "node:crypto";
import { fromJsonSchema, type McpServer } from "@modelcontextprotocol/server";
import { type Json, taskTools } from "../peers/task-jobs.ts";
import { refuseModern, TaskWire, type WireAnswer } from "../peers/task-wire.ts";

/**
 * The tasks of the fixture, in both forms. The SDK v2 has none, so what is about them is taken before the SDK hears of it;
 * the tools stand in its list like others.
 */
export class FixtureTasks {
  readonly #wire = new TaskWire({ pollMs: 100 });
  readonly #asked = new Map<string, (answer: Json) => void>();

  capabilities(era: "modern" | "legacy"): Json {
    return this.#wire.capabilities(era === "modern" ? "extension" : "core");
  }

  register(server: McpServer): void {
    // The suite takes the first tool of the list for what needs none in particular; ours need a client that knows tasks.
    server.registerTool("agree", { description: "Says yes" }, () => ({
      content: [{ type: "text", text: "yes" }],
    }));
    for (const { name, description, taskSupport } of taskTools) {
      const inputSchema = fromJsonSchema<Json>({ type: "object" });
      const tool = server.registerTool(name, { description, inputSchema }, () => ({
        content: [{ type: "text", text: "nobody gets here" }],
      }));
      // `registerTool` has no word for it; the list of 2025-11-25 does.
      if (taskSupport) tool.execution = { taskSupport };
    }
  }

  /** The answer to what is about tasks; undefined for everything else. */
  async answer(request: Request, era: "modern" | "legacy"): Promise<Response | undefined> {
    if (request.method !== "POST") return undefined;
    const message = (await request
      .clone()
      .json()
      .catch(() => undefined)) as Json | undefined;
    if (message?.method === undefined) return this.#answered(message);
    if (!isOurs(message)) return undefined;
    if (era === "modern") {
      const refusal = refuseModern((name) => request.headers.get(name) ?? undefined, message);
      if (refusal) return reply(message, refusal.answer, refusal.status);
    }
    const owner = request.headers.get("mcp-session-id") ?? "";
    const { method, params = {} } = message;
    if (era === "legacy" && (method === "tasks/result" || asksFirst(params.name)))
      return this.#stream(message, owner);
    const answer = await this.#wire[era === "modern" ? "extension" : "core"]({ method, params, owner });
    return answer && reply(message, answer);
  }

  /** 2025-11-25: questions come on the stream of the call, and those of a task to whoever waits for its result. */
  #stream(message: Json, owner: string): Response {
    const utf8 = new TextEncoder();
    const event = (said: Json) => utf8.encode(`event: message\ndata: ${JSON.stringify(said)}\n\n`);
    const body = new ReadableStream<Uint8Array>({
      start: async (controller) => {
        const ask = (request: Json) => {
          const id = randomUUID();
          controller.enqueue(event({ jsonrpc: "2.0", id, ...request }));
          return new Promise<Json>((resolve) => this.#asked.set(id, resolve));
        };
        const { method, params = {} } = message;
        const answer = await this.#wire.core({ method, params, owner, ask });
        try {
          controller.enqueue(event({ jsonrpc: "2.0", id: message.id, ...answer }));
          controller.close();
        } catch {
          // Whoever waited has gone.
        }
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }

  #answered(message: Json | undefined): Response | undefined {
    const resolve = this.#asked.get(String(message?.id));
    if (!resolve) return undefined;
    resolve(message?.result ?? { action: "cancel" });
    return new Response(null, { status: 202 });
  }
}

function asksFirst(name: unknown): boolean {
  return taskTools.some((tool) => tool.name === name && tool.first !== undefined);
}

function isOurs({ method, params }: Json): boolean {
  if (method === "tools/call") return taskTools.some(({ name }) => name === params?.name);
  return typeof method === "string" && method.startsWith("tasks/");
}

function reply({ id }: Json, answer: WireAnswer, refused?: number): Response {
  const { status = refused ?? 200, ...said } = answer as WireAnswer & { status?: number };
  return Response.json({ jsonrpc: "2.0", id, ...said }, { status });
}
