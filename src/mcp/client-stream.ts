import { stringifyJson } from "../base/index.ts";
import type { Notification } from "../relay/index.ts";

const utf8 = new TextEncoder();

/** Bytes waiting for a client before the upstream is held back. */
const HIGH_WATER = 64 * 1024;

/**
 * The SSE form of an answer. It opens with the first notification; a call without any is answered as JSON. Bounded: a
 * client that does not read holds its own upstream call back, nothing else.
 */
export class ClientStream {
  /** Resolves when the first notification is there. */
  readonly opened: Promise<void>;
  #open!: () => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #room: PromiseWithResolvers<void> | undefined;
  #gone = false;

  constructor() {
    this.opened = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  /** Undefined until something was sent. */
  body: ReadableStream<Uint8Array> | undefined;

  send(notification: Notification): void | Promise<void> {
    if (!this.body) this.#start();
    this.#write(stringifyJson({ jsonrpc: "2.0", ...notification }));
    this.#open();
    if (this.#gone || (this.#controller?.desiredSize ?? 0) > 0) return;
    // One for all who wait: the calls of a batch share a stream.
    this.#room ??= Promise.withResolvers();
    return this.#room.promise;
  }

  /** An answer after which more come. */
  answer(message: string): void {
    this.#write(message);
  }

  /** The answer itself, if it was not there before, and the end. */
  finish(message?: string): void {
    if (message !== undefined) this.#write(message);
    if (!this.#gone) this.#controller?.close();
    this.#gone = true;
  }

  #start(): void {
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#makeRoom(),
        cancel: () => {
          this.#gone = true;
          this.#makeRoom();
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: HIGH_WATER }),
    );
  }

  #makeRoom(): void {
    this.#room?.resolve();
    this.#room = undefined;
  }

  #write(json: string): void {
    if (!this.#gone) this.#controller?.enqueue(utf8.encode(`event: message\ndata: ${json}\n\n`));
  }
}
