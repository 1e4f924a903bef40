import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener, type HttpBindings } from "@hono/node-server";

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

/** What is listened for. */
export interface Application {
  /** Answers by itself what it can answer without a `Request`; false for all else. */
  direct(incoming: IncomingMessage, outgoing: ServerResponse): boolean;
  fetch(request: Request, bindings: HttpBindings): Response | Promise<Response>;
  /** Ends what would stay open for ever. */
  closeStreams?(): void;
}

/** Listens; rejects with the system's error (`EADDRINUSE`) when it cannot. Port 0 takes a free one. */
export function listen(application: Application, host: string, port: number): Promise<Listening> {
  const web = getRequestListener(application.fetch as never, { hostname: host });
  const options = {
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
    // Two Authorization or Host headers must not look like the first of them.
    joinDuplicateHeaders: true,
  };
  const server = createServer(options, (incoming, outgoing) => {
    if (!application.direct(incoming, outgoing)) void web(incoming, outgoing);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      resolve({ port: (server.address() as AddressInfo).port, stop: () => stop(server, application) });
    });
  });
}

async function stop(server: Server, application: Application): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  application.closeStreams?.();
  server.closeIdleConnections();
  const force = setTimeout(() => server.closeAllConnections(), GRACE_MS);
  await closed;
  clearTimeout(force);
}
