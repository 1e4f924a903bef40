import { randomUUID } from "node:crypto";
import type { Json } from "./task-jobs.ts";
import { refuseModern, TaskWire, type WireAnswer, type WireOptions } from "./task-wire.ts";

/**
 * Tasks for a server of the SDK v2, which has none: what is about them is taken from its requests before the SDK hears of
 * it. The tools of the wire stand in the server's own list like others.
 */
export class TaskIntercept {
  readonly wire: TaskWire;
  readonly #asked = new Map<string, (answer: Json) => void>();

  constructor(options: WireOptions) {
    this.wire = new TaskWire(options);
  }

  /** The answer to what is about tasks; undefined for everything else. */
  async answer(request: Request, era: "modern" | "legacy"): Promise<Response | undefined> {
    if (request.method !== "POST") return undefined;
    const message = (await request
      .clone()
      .json()
      .catch(() => undefined)) as Json | undefined;
    if (message?.method === undefined) return this.#answered(message);
    if (!this.#isOurs(message)) return undefined;
    if (era === "modern") {
      const refusal = refuseModern((name) => request.headers.get(name) ?? undefined, message);
      if (refusal) return reply(message, refusal.answer, refusal.status);
    }
    const owner = request.headers.get("mcp-session-id") ?? "";
    const { method, params = {} } = message;
    if (era === "legacy" && (method === "tasks/result" || this.#asksFirst(params.name)))
      return this.#stream(message, owner);
    const answer = await this.wire[era === "modern" ? "extension" : "core"]({ method, params, owner });
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
        const answer = await this.wire.core({ method, params, owner, ask });
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

  #asksFirst(name: unknown): boolean {
    return this.wire.tools.some((tool) => tool.name === name && tool.first !== undefined);
  }

  #isOurs({ method, params }: Json): boolean {
    if (method === "tools/call") return this.wire.tools.some(({ name }) => name === params?.name);
    return typeof method === "string" && method.startsWith("tasks/");
  }
}

function reply({ id }: Json, answer: WireAnswer, refused?: number): Response {
  const { status = refused ?? 200, ...said } = answer as WireAnswer & { status?: number };
  return Response.json({ jsonrpc: "2.0", id, ...said }, { status });
}
