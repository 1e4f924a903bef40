import { stringifyJson } from "../base/index.ts";
import type { Notification } from "../relay/index.ts";

/** What is kept to be sent again, and what may wait for a reader. */
const MAX_KEPT = 64;
const MAX_KEPT_CHARACTERS = 256 * 1024;
const HIGH_WATER = 256 * 1024;

const utf8 = new TextEncoder();

/** The events of one stream, numbered under an unguessable name, the last of them kept for a reader that lost them. */
export class EventLine {
  readonly #name: string;
  #events: { at: number; text: string }[] = [];
  #kept = 0;
  #last = 0;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #broken: (() => void) | undefined;
  #unread = false;

  readonly #highWater: number;

  /** `highWater`: bytes that may wait for the reader before it counts as gone. */
  constructor(name: string, highWater = HIGH_WATER) {
    this.#name = name;
    this.#highWater = highWater;
  }

  /** Whether something was sent since the last reader went. */
  get unread(): boolean {
    return this.#unread;
  }

  /** Begins to write. `broken`: the reader has gone, or did not read. */
  open(broken: () => void): ReadableStream<Uint8Array> {
    let own: ReadableStreamDefaultController<Uint8Array>;
    this.#broken = broken;
    this.#unread = false;
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          own = controller;
          this.#controller = controller;
        },
        cancel: () => {
          // A reader that was replaced says nothing about the one after it.
          if (this.#controller !== own) return;
          this.#controller = undefined;
          broken();
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: this.#highWater }),
    );
  }

  /** Where an event id stands; undefined when it is none of this stream. */
  positionOf(eventId: string): number | undefined {
    if (!eventId.startsWith(`${this.#name}_`)) return undefined;
    const at = Number(eventId.slice(this.#name.length + 1));
    return Number.isSafeInteger(at) && at >= 0 && at <= this.#last ? at : undefined;
  }

  /** An id and no data: something to resume from. */
  prime(): void {
    this.#write(`id: ${this.#name}_${this.#last}\ndata: \n\n`);
  }

  replay(after: number): void {
    for (const { at, text } of this.#events) if (at > after) this.#write(text);
  }

  send(notification: Notification): void {
    this.#last += 1;
    const data = stringifyJson({ jsonrpc: "2.0", ...notification });
    const text = `id: ${this.#name}_${this.#last}\nevent: message\ndata: ${data}\n\n`;
    this.#events.push({ at: this.#last, text });
    this.#kept += text.length;
    while (this.#events.length > MAX_KEPT || this.#kept > MAX_KEPT_CHARACTERS) {
      this.#kept -= this.#events.shift()!.text.length;
    }
    this.#write(text);
  }

  /** An event outside the numbering: it is not sent again. `data` is one line. */
  event(name: string, data: string): void {
    this.#write(`event: ${name}\ndata: ${data}\n\n`);
  }

  /** How long the reader should wait before it comes back, in milliseconds (HTML "Server-sent events": `retry`). */
  retryAfter(ms: number): void {
    this.#write(`retry: ${Math.round(ms)}\n\n`);
  }

  keepAlive(): void {
    this.#write(": still here\n\n");
  }

  close(): void {
    const controller = this.#controller;
    this.#controller = undefined;
    controller?.close();
  }

  #write(text: string): void {
    if (!this.#controller) {
      this.#unread = true;
    } else if ((this.#controller.desiredSize ?? 0) <= 0) {
      this.#unread = true;
      this.close();
      this.#broken?.();
    } else this.#controller.enqueue(utf8.encode(text));
  }
}
