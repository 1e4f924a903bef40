import type { Gone } from "../base/index.ts";
import { RelayFault } from "./fault.ts";

/** However much an upstream talks, one request ends after this many times its timeout. */
const LONGEST = 10;

/**
 * How long we wait for an upstream, and for whom. Every message starts the time anew (a tool that reports progress is at
 * work), up to a total; the client going away ends it at once.
 */
export class Patience implements Gone {
  /** What ended the wait; undefined while it lasts. */
  ended: RelayFault | undefined;
  readonly #client: Gone;
  readonly #timeoutMs: number;
  readonly #leave = () => this.#end(new RelayFault("cancelled"));
  readonly #listeners: (() => void)[] = [];
  #timer: NodeJS.Timeout;
  #left: number;
  #holds = 0;

  constructor(client: Gone, timeoutMs: number) {
    this.#client = client;
    this.#timeoutMs = timeoutMs;
    this.#left = timeoutMs * LONGEST;
    this.#timer = setTimeout(() => this.#expire(), timeoutMs);
    client.addEventListener("abort", this.#leave);
    if (client.aborted) this.#leave();
  }

  get aborted(): boolean {
    return this.ended !== undefined;
  }

  /** Called once, when the wait is over. */
  addEventListener(_: "abort", listener: () => void): void {
    this.#listeners.push(listener);
  }

  removeEventListener(_: "abort", listener: () => void): void {
    const at = this.#listeners.indexOf(listener);
    if (at >= 0) this.#listeners.splice(at, 1);
  }

  /** The upstream said something. */
  renew(): void {
    this.#left -= this.#timeoutMs;
    if (this.#left > 0 && this.#holds === 0) this.#timer.refresh();
  }

  /** The upstream waits for the client: `ms` instead of the usual time, until as many `release`s. */
  hold(ms: number): void {
    this.#holds += 1;
    this.#restart(ms);
  }

  release(): void {
    this.#holds -= 1;
    if (this.#holds === 0) this.#restart(this.#timeoutMs);
  }

  #restart(ms: number): void {
    clearTimeout(this.#timer);
    if (!this.ended) this.#timer = setTimeout(() => this.#expire(), ms);
  }

  /** Waits for `work`, at most as long as we have patience. */
  until(work: Promise<void>): Promise<void> {
    if (this.ended) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const leave = () => resolve();
      this.addEventListener("abort", leave);
      work.then(resolve, reject).finally(() => this.removeEventListener("abort", leave));
    });
  }

  /** Frees timer and listener; call it once the answer is there. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#client.removeEventListener("abort", this.#leave);
  }

  #expire(): void {
    this.#end(new RelayFault("upstream_timeout"));
  }

  #end(fault: RelayFault): void {
    this.stop();
    if (this.ended) return;
    this.ended = fault;
    for (const listener of this.#listeners.splice(0)) listener();
  }
}
