import { Agent, type IncomingMessage, request } from "node:http";

export interface RawRequest {
  method: string;
  path: string;
  /** In turn names and values, sent as they are: repetitions too. */
  headers: string[];
  body?: Uint8Array;
}

export interface RawAnswer {
  status: number;
  type: string;
  /** At most `most` bytes of it; a stream may have no end. */
  text: string;
}

const MOST = 1024 * 1024;

/** Sends a request as it is, whatever a well-behaved client would say to it. Undefined: the server ended the connection. */
export class RawHttp {
  readonly #origin: URL;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8 });

  constructor(origin: string) {
    this.#origin = new URL(origin);
  }

  /** `enough`: ends a stream as soon as it holds this. */
  send({ method, path, headers, body }: RawRequest, enough: RegExp): Promise<RawAnswer | undefined> {
    const { hostname, port, host } = this.#origin;
    return new Promise((resolve, reject) => {
      const length = body === undefined ? [] : ["content-length", String(body.byteLength)];
      const sent = request(
        {
          method,
          path,
          hostname,
          port,
          agent: this.#agent,
          headers: ["host", host, ...length, ...headers],
          setHost: false,
        },
        (response) => void read(response, enough).then(resolve, reject),
      );
      sent.on("error", (error: NodeJS.ErrnoException) =>
        ["ECONNRESET", "EPIPE", "HPE_INVALID_CONSTANT"].includes(error.code ?? "")
          ? resolve(undefined)
          : reject(error),
      );
      sent.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

async function read(response: IncomingMessage, enough: RegExp): Promise<RawAnswer> {
  const chunks: Buffer[] = [];
  let size = 0;
  let text = "";
  const stream = String(response.headers["content-type"]).startsWith("text/event-stream");
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.byteLength;
    text = Buffer.concat(chunks).toString("utf8");
    if (size > MOST || (stream && enough.test(text))) break;
  }
  return { status: response.statusCode ?? 0, type: String(response.headers["content-type"] ?? ""), text };
}
