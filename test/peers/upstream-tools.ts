import { McpServer, type ServerContext } from "@modelcontextprotocol/server";
import { z } from "zod";

/** One waiting call of the tool `slow`. */
export interface SlowCall {
  account: string;
  /** Sends a progress notification; nothing where the client gave no progress token. */
  progress(progress: number, total?: number): Promise<void>;
  release(text?: string): void;
  /** Resolves when the client gave the call up. */
  cancelled: Promise<void>;
}

const SLOW_MS = 60_000;
const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

export class SlowCalls {
  readonly #arrived: SlowCall[] = [];
  readonly #waiting: ((call: SlowCall) => void)[] = [];
  readonly #open = new Set<SlowCall>();

  next(): Promise<SlowCall> {
    const call = this.#arrived.shift();
    return call ? Promise.resolve(call) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  releaseAll(): void {
    for (const call of [...this.#open]) call.release();
  }

  /** Announces a call and waits: for its release, its cancellation, or at most a minute. Resolves with the text. */
  async run(account: string, context: ServerContext): Promise<string> {
    const done = Promise.withResolvers<string>();
    const cancelled = Promise.withResolvers<void>();
    const { signal, notify, _meta } = context.mcpReq;
    const progressToken = _meta?.progressToken;
    const call: SlowCall = {
      account,
      cancelled: cancelled.promise,
      release: (text = "done") => done.resolve(text),
      progress: async (progress, total) => {
        if (progressToken === undefined) return;
        await notify({ method: "notifications/progress", params: { progressToken, progress, total } });
      },
    };
    const cancel = (): void => {
      cancelled.resolve();
      done.resolve("cancelled");
    };
    if (signal.aborted) cancel();
    signal.addEventListener("abort", cancel, { once: true });
    const timer = setTimeout(cancel, SLOW_MS);
    this.#open.add(call);
    const waiting = this.#waiting.shift();
    if (waiting) waiting(call);
    else this.#arrived.push(call);
    try {
      return await done.promise;
    } finally {
      clearTimeout(timer);
      this.#open.delete(call);
    }
  }
}

/** A server for one request, as `createMcpHandler` wants it; the account comes with the request. */
export function upstreamServer(name: string, slow: SlowCalls): McpServer {
  const server = new McpServer({ name, version: "1.0.0" });
  server.registerTool("whoami", { description: "Says whose credential came with the call" }, (context) =>
    text(accountOf(context)),
  );
  server.registerTool(
    "echo",
    {
      description: "Says the same again",
      inputSchema: z.object({ text: z.string() }),
      outputSchema: z.object({ text: z.string(), length: z.number() }),
    },
    (input) => ({
      ...text(input.text),
      structuredContent: { text: input.text, length: input.text.length },
      _meta: { "example.test/echoed": true },
    }),
  );
  server.registerTool("slow", { description: "Answers when the test lets it" }, async (context) =>
    text(await slow.run(accountOf(context), context)),
  );
  server.registerTool("fail", { description: "Always fails" }, () => ({
    ...text("It failed, as asked"),
    isError: true,
  }));
  server.registerTool("picture", { description: "A small picture" }, () => ({
    content: [{ type: "image", data: PIXEL, mimeType: "image/png" }],
  }));
  return server;
}

function accountOf(context: ServerContext): string {
  return String(context.http?.authInfo?.extra?.account ?? "anonymous");
}

function text(value: string): { content: [{ type: "text"; text: string }] } {
  return { content: [{ type: "text", text: value }] };
}
