import type { Dispatcher } from "undici";
import type { AnswerBody, OutboundAnswer, OutboundRequest } from "./outbound.ts";
import { OutboundError, outboundFailure } from "./outbound-error.ts";

/** Bytes that wait for a reader before the sender is held back. */
const HIGH_WATER = 64 * 1024;

/**
 * One exchange as undici's dispatcher tells it, and the body of its answer. A Node stream in between would cost a call
 * more than reading and checking the answer does.
 */
export class StreamedAnswer implements Dispatcher.DispatchHandler, AnswerBody {
  readonly #gone: OutboundRequest["signal"];
  readonly #answered: (answer: OutboundAnswer) => void;
  readonly #failed: (error: unknown) => void;
  readonly #leave = () => this.destroy();
  #controller: Dispatcher.DispatchController | undefined;
  #chunks: Buffer[] = [];
  #waiting = 0;
  #left = Number.POSITIVE_INFINITY;
  #ended = false;
  #error: unknown;
  #wake: (() => void) | undefined;

  constructor(
    gone: OutboundRequest["signal"],
    answered: (answer: OutboundAnswer) => void,
    failed: (error: unknown) => void,
  ) {
    this.#gone = gone;
    this.#answered = answered;
    this.#failed = failed;
    gone?.addEventListener("abort", this.#leave);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#ended || this.#gone?.aborted) controller.abort(new OutboundError("aborted"));
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    statusCode: number,
    headers: OutboundAnswer["headers"],
  ): void {
    if (statusCode >= 200) this.#answered({ statusCode, headers, body: this });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#left !== Number.POSITIVE_INFINITY) {
      this.#left -= chunk.length;
      if (this.#left < 0) this.destroy();
      return;
    }
    this.#chunks.push(chunk);
    this.#waiting += chunk.length;
    if (this.#waiting > HIGH_WATER) controller.pause();
    this.#rouse();
  }

  onResponseEnd(): void {
    this.#end();
  }

  /** Before the answer: the exchange failed. After: its body did, and the reader is told. */
  onResponseError(_: Dispatcher.DispatchController | undefined, error: Error): void {
    this.#error ??= error;
    this.#failed(outboundFailure(error));
    this.#end();
  }

  /** Small answers are there whole when their head is; those wait for nothing. */
  bytes(maxBytes: number): Uint8Array | Promise<Uint8Array> {
    const [only] = this.#chunks;
    const whole = this.#ended && this.#error === undefined && this.#chunks.length === 1;
    return whole && only!.length <= maxBytes ? only! : this.#gather(maxBytes);
  }

  async #gather(maxBytes: number): Promise<Uint8Array> {
    const whole: Buffer[] = [];
    let size = 0;
    for (;;) {
      for (const chunk of this.#take()) {
        size += chunk.length;
        if (size > maxBytes) {
          this.destroy();
          throw new OutboundError("too_large");
        }
        whole.push(chunk);
      }
      if (this.#ended) break;
      await this.#more();
    }
    if (this.#error !== undefined) throw this.#error;
    return whole.length === 1 ? whole[0]! : Buffer.concat(whole);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      yield* this.#take();
      // More may have come while the last pieces were looked at.
      if (this.#chunks.length > 0) continue;
      if (this.#ended) break;
      await this.#more();
    }
    if (this.#error !== undefined) throw this.#error;
  }

  discard(limits: { bytes: number; ms: number }): void {
    this.#left = limits.bytes;
    this.#take();
    if (this.#ended) return;
    const late = setTimeout(() => this.destroy(), limits.ms);
    late.unref();
    this.#wake = () => this.#ended && clearTimeout(late);
  }

  destroy(): void {
    const error = new OutboundError("aborted");
    if (this.#ended) return;
    this.#error ??= error;
    // Ends in `onResponseError`; without a controller nothing was sent yet, and `onRequestStart` will see it.
    if (this.#controller) this.#controller.abort(error);
    else {
      this.#failed(error);
      this.#end();
    }
  }

  #take(): Buffer[] {
    const taken = this.#chunks;
    this.#chunks = [];
    this.#waiting = 0;
    if (this.#controller?.paused) this.#controller.resume();
    return taken;
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #rouse(): void {
    this.#wake?.();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#gone?.removeEventListener("abort", this.#leave);
    this.#rouse();
  }
}
