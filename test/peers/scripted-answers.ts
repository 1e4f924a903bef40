import type { IncomingMessage, ServerResponse } from "node:http";
import type { RecordedRequest } from "./recorded-request.ts";

/** One request and the ways to answer it. */
export interface Exchange {
  request: RecordedRequest;
  req: IncomingMessage;
  res: ServerResponse;
  /** The JSON-RPC id, null where there is none. */
  id: string | number | null;
}

export type Handler = (exchange: Exchange) => void | Promise<void>;

/** Ready-made handlers for `next` and `on`. */
export const answer = {
  /** A JSON-RPC result as JSON. */
  result:
    (result: unknown): Handler =>
    (exchange) =>
      sendRpc(exchange, { result }),
  /** A JSON-RPC error as JSON; HTTP status default 200. */
  error:
    (code: number, message: string, data?: unknown, status = 200): Handler =>
    (exchange) =>
      sendRpc(exchange, { error: { code, message, ...(data !== undefined && { data }) } }, status),
  /** Messages as an event stream; results and errors get the id of the request unless they name one. */
  sse:
    (...messages: Record<string, unknown>[]): Handler =>
    async ({ res, id }) => {
      openSse(res);
      for (const message of messages) writeSse(res, fill(message, id));
      res.end();
    },
  /** Any HTTP answer. Objects are sent as JSON. */
  http:
    (status: number, body: unknown = "", headers: Record<string, string> = {}): Handler =>
    ({ res }) =>
      send(res, status, body, headers),
  /** 401 with this `WWW-Authenticate`. */
  unauthorized:
    (challenge = "Bearer"): Handler =>
    ({ res }) =>
      send(res, 401, "", { "www-authenticate": challenge }),
  /** The body in pieces, each released by the test: see `Drip`. */
  drip:
    (drip: Drip, headers: Record<string, string> = { "content-type": "text/event-stream" }): Handler =>
    async ({ res }) => {
      res.writeHead(200, headers);
      res.flushHeaders();
      for await (const piece of drip) {
        if (res.destroyed) return;
        res.write(piece);
      }
      res.end();
    },
  /** A valid JSON-RPC result of at least so many bytes. */
  huge:
    (bytes: number): Handler =>
    async ({ res, id }) => {
      const piece = "x".repeat(64 * 1024);
      res.writeHead(200, { "content-type": "application/json" });
      res.write(
        `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{"resultType":"complete","content":[{"type":"text","text":"`,
      );
      for (let sent = 0; sent < bytes && !res.destroyed; sent += piece.length) {
        if (!res.write(piece)) await drained(res);
      }
      res.end('"}]}}');
    },
  /** Cuts the connection without an answer. */
  reset:
    (): Handler =>
    ({ req }) => {
      req.socket.resetAndDestroy();
    },
  /** Begins an event stream with these messages and cuts the connection in the middle of it. */
  resetAfter:
    (...messages: Record<string, unknown>[]): Handler =>
    async ({ req, res, id }) => {
      openSse(res);
      for (const message of messages) writeSse(res, fill(message, id));
      await new Promise((resolve) => res.write(": cut\n\n", resolve));
      req.socket.destroy();
    },
  /** Never answers; ends with `close()` of the upstream or when the client goes. */
  silence: (): Handler => () => {},
  /** Answers with `then` once `gate` resolves. */
  after:
    (gate: Promise<unknown>, then: Handler): Handler =>
    async (exchange) => {
      await gate;
      await then(exchange);
    },
};

/** A body the test sends piece by piece: `push(…)`, then `end()`. */
export class Drip implements AsyncIterable<string> {
  readonly #pieces: string[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  push(piece: string): void {
    this.#pieces.push(piece);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) yield piece;
      else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

function sendRpc({ res, id }: Exchange, message: Record<string, unknown>, status = 200): void {
  send(res, status, { jsonrpc: "2.0", id, ...message });
}

export function send(
  res: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const type = typeof body === "string" ? {} : { "content-type": "application/json" };
  res.writeHead(status, { ...type, ...headers });
  res.end(typeof body === "string" ? body : JSON.stringify(body));
}

function openSse(res: ServerResponse): void {
  res.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
}

function writeSse(res: ServerResponse, message: Record<string, unknown>): void {
  res.write(`event: message\ndata: ${JSON.stringify(message)}\n\n`);
}

/** Results and errors get the request's id unless they name one; everything gets `jsonrpc`. */
function fill(message: Record<string, unknown>, id: string | number | null): Record<string, unknown> {
  const answers = "result" in message || "error" in message;
  return { jsonrpc: "2.0", ...(answers && { id }), ...message };
}

function drained(res: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      res.off("drain", done).off("close", done);
      resolve();
    };
    res.on("drain", done).on("close", done);
  });
}
