import { once } from "node:events";
import { connect, type Socket } from "node:net";

const HEAD_END = "\r\n\r\n";
const LAST_CHUNK = "0\r\n\r\n";

/**
 * One kept-alive HTTP/1.1 connection that sends the same bytes again and again. It reads no more of the answers than
 * it must: the generator shares the machine's cores with what it measures.
 */
export class Connection {
  readonly #socket: Socket;
  #received = "";
  #settle: { resolve(answer: string): void; reject(error: Error): void } | undefined;

  static async open(origin: URL): Promise<Connection> {
    const socket = connect({ host: origin.hostname, port: Number(origin.port), noDelay: true });
    await once(socket, "connect");
    return new Connection(socket);
  }

  constructor(socket: Socket) {
    this.#socket = socket.setEncoding("latin1");
    socket.on("data", (text: string) => this.#take(text));
    socket.on("error", (error) => this.#settle?.reject(error));
    socket.on("close", () => this.#settle?.reject(new Error("The connection was closed")));
  }

  /** The whole answer, head and body. */
  exchange(request: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#socket.write(request, "latin1");
    });
  }

  close(): void {
    this.#settle = undefined;
    this.#socket.destroy();
  }

  #take(text: string): void {
    this.#received = this.#received === "" ? text : this.#received + text;
    if (!isWhole(this.#received)) return;
    const answer = this.#received;
    const settle = this.#settle;
    this.#received = "";
    this.#settle = undefined;
    settle?.resolve(answer);
  }
}

/** Whether the head and the body it announces are there. */
export function isWhole(answer: string): boolean {
  const headEnd = answer.indexOf(HEAD_END);
  if (headEnd < 0) return false;
  const head = answer.slice(0, headEnd);
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (length !== undefined) return answer.length >= headEnd + HEAD_END.length + Number(length);
  return /\r\ntransfer-encoding: *chunked/i.test(head) && answer.endsWith(LAST_CHUNK);
}

/** The bytes of a POST. `body` must be ASCII. */
export function postBytes(url: URL, headers: Record<string, string>, body: string): string {
  const lines = Object.entries({ host: url.host, ...headers, "content-length": String(body.length) });
  return `POST ${url.pathname} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n${body}`;
}
