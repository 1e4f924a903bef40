import { Agent, type IncomingHttpHeaders, request } from "node:http";

export interface Sent {
  method: string;
  /** Path and query, exactly as it goes out. */
  target: string;
  /** A list repeats the header. */
  headers?: Record<string, string | string[]>;
  body?: string | Buffer;
  /** Says that a body of so many bytes follows, and waits for the answer without sending it. */
  declares?: number;
}

export interface Answered {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/** HTTP without the courtesies of `fetch`: any `Host`, any path, repeated headers, no redirects followed. */
export class Wire {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8 });
  readonly #origin: URL;

  constructor(origin: string) {
    this.#origin = new URL(origin);
  }

  send({ method, target, headers = {}, body, declares }: Sent): Promise<Answered> {
    const { hostname, port } = this.#origin;
    const size = declares ?? (body === undefined ? undefined : Buffer.byteLength(body));
    const length = size === undefined ? {} : { "content-length": String(size) };
    return new Promise((resolve, reject) => {
      const sending = request({
        hostname,
        port,
        method,
        path: target,
        agent: this.#agent,
        headers: { ...length, ...headers },
      });
      sending.on("response", (response) => {
        const { statusCode: status = 0, headers: told } = response;
        if (method === "GET" && told["content-type"] === "text/event-stream") {
          // A standing stream ends when one of the two leaves.
          resolve({ status, headers: told, text: "" });
          return sending.destroy();
        }
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          resolve({
            status,
            headers: told,
            text: Buffer.concat(chunks).toString("utf8"),
          });
          if (declares !== undefined) sending.destroy();
        });
      });
      sending.on("error", reject);
      if (declares === undefined) sending.end(body);
      else sending.flushHeaders();
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** A JSON body with its header; nothing where there is no value. */
export function jsonOf(value: unknown): Pick<Sent, "headers" | "body"> {
  if (value === undefined) return {};
  return { headers: { "content-type": "application/json" }, body: JSON.stringify(value) };
}
