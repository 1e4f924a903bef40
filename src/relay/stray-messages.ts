const WINDOW_MS = 60_000;
const MAX_MESSAGES = 10_000;
const MAX_SIZE = 16 * 1024 * 1024;

/** Counts what an upstream says to nobody: a little is normal, without end it is not borne. */
export class StrayMessages {
  readonly #now: () => number;
  #since = 0;
  #messages = 0;
  #size = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** True when it was too much within a minute. */
  add(size: number): boolean {
    const now = this.#now();
    if (now - this.#since >= WINDOW_MS) {
      this.#since = now;
      this.#messages = 0;
      this.#size = 0;
    }
    this.#messages += 1;
    this.#size += size;
    return this.#messages > MAX_MESSAGES || this.#size > MAX_SIZE;
  }
}
