import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createSecureServer, type ServerOptions } from "node:https";
import type { AddressInfo } from "node:net";

export interface LoopbackServer {
  /** `http://127.0.0.1:<port>`, https with `tls`; without a slash at the end. */
  origin: string;
  port: number;
  server: Server;
  /** Cuts every connection and closes. */
  close(): Promise<void>;
}

/** An HTTP server on a free port of 127.0.0.1; HTTPS with `tls`. The listener may be set later, through `server.on("request", …)`. */
export async function startLoopbackServer(
  listener?: RequestListener,
  port = 0,
  tls?: ServerOptions,
): Promise<LoopbackServer> {
  const server = tls ? (createSecureServer(tls, listener) as unknown as Server) : createServer(listener);
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const bound = (server.address() as AddressInfo).port;
  return {
    origin: `${tls ? "https" : "http"}://127.0.0.1:${bound}`,
    port: bound,
    server,
    close: async () => {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
