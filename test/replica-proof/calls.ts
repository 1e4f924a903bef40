import { setTimeout as pause } from "node:timers/promises";
import { Agent, type Dispatcher, Pool } from "undici";
import type { Tokens } from "./consent.ts";

/** After a connection that broke: another replica takes the next one. */
const AGAIN_MS = 50;
/** After an answer that says "in a moment", unless it says when. */
const BACK_OFF_MS = 1_000;

interface Failure {
  why: string;
  pauseMs: number;
}

/** Who calls: the tokens may be renewed meanwhile. */
export interface Caller {
  name: string;
  tokens: Tokens;
}

/** What came of the calls so far. Times in milliseconds. */
export interface CallCount {
  calls: number;
  /** Failed at first. */
  retried: number;
  /** Failed again, with why. */
  failed: string[];
  /** Links to connect, which nobody should have been shown. */
  prompts: string[];
  durations: number[];
}

const meta = {
  "io.modelcontextprotocol/protocolVersion": "2026-07-28",
  "io.modelcontextprotocol/clientCapabilities": {},
  "io.modelcontextprotocol/clientInfo": { name: "replica proof", version: "1" },
};

/** Calls tools at a steady rate, whoever answers, and tries each that fails once more. */
export class Calls {
  readonly count: CallCount = { calls: 0, retried: 0, failed: [], prompts: [], durations: [] };
  readonly #origin: string;
  readonly #pool: Pool;
  readonly #fresh = new Agent({ pipelining: 0 });
  readonly #running = new Set<Promise<void>>();

  constructor(origin: string) {
    this.#origin = origin;
    // Connections go over to replicas that are new after a while.
    this.#pool = new Pool(origin, {
      connections: 64,
      maxRequestsPerClient: 100,
      connect: { timeout: 2_000 },
    });
  }

  /** As long as `goesOn` says so; resolves when the last call has ended. */
  async run(
    perSecond: number,
    goesOn: () => boolean,
    next: () => { caller: Caller; tool: string },
  ): Promise<void> {
    const begun = performance.now();
    for (let sent = 0; goesOn(); ) {
      const due = ((performance.now() - begun) / 1000) * perSecond;
      for (; sent < due; sent++) {
        const { caller, tool } = next();
        const call = this.#call(caller, tool).finally(() => this.#running.delete(call));
        this.#running.add(call);
      }
      await pause(5);
    }
    await Promise.all(this.#running);
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
    await this.#fresh.destroy();
  }

  async #call(caller: Caller, tool: string): Promise<void> {
    this.count.calls++;
    const begun = performance.now();
    const first = await this.#once(caller, tool, this.#pool);
    if (first === undefined) {
      this.count.durations.push(performance.now() - begun);
      return;
    }
    this.count.retried++;
    await pause(first.pauseMs);
    // Over a connection of its own: others that are kept may lead to the same dead end.
    const second = await this.#once(caller, tool, this.#fresh);
    this.count.durations.push(performance.now() - begun);
    if (second !== undefined) this.count.failed.push(`${first.why}; then ${second.why}`);
  }

  /** Undefined when the right person was answered. */
  async #once(caller: Caller, tool: string, over: Dispatcher): Promise<Failure | undefined> {
    try {
      const { statusCode, headers, body } = await over.request({
        origin: this.#origin,
        path: "/mcp",
        method: "POST",
        reset: over === this.#fresh,
        headersTimeout: 20_000,
        headers: {
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
          authorization: `Bearer ${caller.tokens.access}`,
          "mcp-protocol-version": "2026-07-28",
          "mcp-method": "tools/call",
          "mcp-name": tool,
        },
        body: JSON.stringify({
          jsonrpc: "2.0",
          id: 1,
          method: "tools/call",
          params: { name: tool, arguments: {}, _meta: meta },
        }),
      });
      const why = this.#judge(statusCode, await body.text(), caller);
      if (why === undefined) return undefined;
      const isLater = why.includes("Try again in a moment");
      const asked = Number(headers["retry-after"] ?? 0) * 1000;
      return { why, pauseMs: isLater ? Math.max(BACK_OFF_MS, asked) : AGAIN_MS };
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      return { why: code ?? message, pauseMs: AGAIN_MS };
    }
  }

  #judge(status: number, text: string, caller: Caller): string | undefined {
    if (status === 200 && text.includes(`"text":"${caller.name}"`)) return undefined;
    if (text.includes("Authentication required")) {
      this.count.prompts.push(caller.name);
      return "asked to connect";
    }
    return `${status} ${text.slice(0, 300)}`;
  }
}
