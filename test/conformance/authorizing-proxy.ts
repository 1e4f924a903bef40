import { type IncomingMessage, request, type ServerResponse } from "node:http";
import { type LoopbackServer, startLoopbackServer } from "../peers/loopback-server.ts";

/**
 * Puts `Authorization` on every request and hands the rest on as it is: method, path, `Host`, `Origin`, body and stream.
 * The suite's server scenarios cannot authenticate by themselves.
 */
export async function startAuthorizingProxy(): Promise<AuthorizingProxy> {
  return new AuthorizingProxy(await startLoopbackServer());
}

export class AuthorizingProxy {
  readonly origin: string;
  readonly #listening: LoopbackServer;
  #target = { port: 0, authorization: "" };

  constructor(listening: LoopbackServer) {
    this.#listening = listening;
    this.origin = listening.origin;
    listening.server.on("request", (req, res) => this.#pass(req, res));
  }

  /** A port of 127.0.0.1 and what to present there. */
  point(port: number, authorization: string): void {
    this.#target = { port, authorization };
  }

  close(): Promise<void> {
    return this.#listening.close();
  }

  #pass(req: IncomingMessage, res: ServerResponse): void {
    const { port, authorization } = this.#target;
    const { method, url: path } = req;
    const onward = request(
      { host: "127.0.0.1", port, method, path, headers: { ...req.headers, authorization } },
      (answer) => {
        res.writeHead(answer.statusCode ?? 502, answer.headers);
        res.flushHeaders();
        answer.pipe(res);
        answer.on("error", () => res.destroy());
      },
    );
    // Whoever goes takes the other side along: that is how a call is cancelled.
    onward.on("error", () => res.destroy());
    res.on("close", () => onward.destroy());
    req.pipe(onward);
  }
}
