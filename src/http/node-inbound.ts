import type { IncomingMessage, ServerResponse } from "node:http";
import { type Gone, Problem } from "../base/index.ts";
import { bodyTooLarge, encodedBody } from "./body.ts";
import type { HeaderReader, Inbound } from "./direct.ts";

/** A request as `node:http` reads it. The server joins repeated headers (`joinDuplicateHeaders`). */
export class NodeInbound implements Inbound, HeaderReader {
  readonly headers: HeaderReader = this;
  readonly #incoming: IncomingMessage;
  readonly #outgoing: ServerResponse;
  #gone: Gone | undefined;

  constructor(incoming: IncomingMessage, outgoing: ServerResponse) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  get(name: string): string | null {
    const value: unknown = this.#incoming.headers[name];
    if (typeof value === "string") return value;
    // The object inherits: `constructor` is a header name, and no header.
    return Array.isArray(value) ? value.join(", ") : null;
  }

  get connection(): object {
    return this.#incoming.socket;
  }

  get gone(): Gone {
    this.#gone ??= new Departure(this.#outgoing);
    return this.#gone;
  }

  bytes(maxBytes: number): Promise<Uint8Array> {
    const { headers } = this.#incoming;
    if (headers["content-encoding"] !== undefined) throw encodedBody();
    if (Number(headers["content-length"] ?? 0) > maxBytes) throw bodyTooLarge(maxBytes);
    return readWhole(this.#incoming, maxBytes);
  }
}

/** Our own fault-free way to learn that the connection closed before the answer was out. */
class Departure implements Gone {
  readonly #outgoing: ServerResponse;
  readonly #listeners: (() => void)[] = [];

  constructor(outgoing: ServerResponse) {
    this.#outgoing = outgoing;
  }

  get aborted(): boolean {
    return this.#outgoing.destroyed && !this.#outgoing.writableFinished;
  }

  addEventListener(_: "abort", listener: () => void): void {
    if (this.#listeners.length === 0) this.#outgoing.once("close", () => this.#closed());
    this.#listeners.push(listener);
  }

  removeEventListener(_: "abort", listener: () => void): void {
    const at = this.#listeners.indexOf(listener);
    // The first listener's place stays taken, or `close` would be listened to twice.
    if (at >= 0) this.#listeners[at] = nothing;
  }

  #closed(): void {
    if (this.#outgoing.writableFinished) return;
    for (const listener of this.#listeners) listener();
  }
}

function nothing(): void {}

function readWhole(incoming: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const take = (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) {
        incoming.off("data", take);
        reject(bodyTooLarge(maxBytes));
      } else chunks.push(chunk);
    };
    incoming.on("data", take);
    incoming.on("end", () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
    // Nobody is left to read what this says. Without a listener for it, node emits no `error` here, only `close`.
    incoming.on("close", () => {
      if (!incoming.readableEnded) reject(endedEarly());
    });
  });
}

function endedEarly(): Problem {
  return new Problem("invalid", "invalid_request", "The body ended early. Send the request again.");
}
