import type { Server } from "node:http";
import { type HttpBindings, serve } from "@hono/node-server";

/** How long calls in flight may take to finish after a stop was asked for. */
const GRACE_MS = 10_000;
/** Slow senders of headers and bodies are cut off; an upstream call that streams its answer is not. */
const HEADERS_TIMEOUT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 60_000;
const MAX_HEADER_BYTES = 16 * 1024;

export interface Listening {
  port: number;
  /** Refuses new connections, lets requests in flight finish within ten seconds, then closes. */
  stop(): Promise<void>;
}

/** Listens; rejects with the system's error (`EADDRINUSE`) when it cannot. Port 0 takes a free one. */
export function listen(
  fetch: (request: Request, bindings: HttpBindings) => Response | Promise<Response>,
  host: string,
  port: number,
): Promise<Listening> {
  return new Promise((resolve, reject) => {
    const server = serve(
      {
        fetch: fetch as never,
        hostname: host,
        port,
        serverOptions: {
          headersTimeout: HEADERS_TIMEOUT_MS,
          requestTimeout: REQUEST_TIMEOUT_MS,
          maxHeaderSize: MAX_HEADER_BYTES,
        },
      },
      (info) => resolve({ port: info.port, stop: () => stop(server as Server) }),
    );
    server.once("error", reject);
  });
}

async function stop(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const force = setTimeout(() => server.closeAllConnections(), GRACE_MS);
  await closed;
  clearTimeout(force);
}
