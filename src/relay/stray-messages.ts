const WINDOW_MS = 60_000;
const USUAL = { messages: 10_000, size: 16 * 1024 * 1024 };

/** Counts what an upstream says to nobody: a little is normal, without end it is not borne. */
export class StrayMessages {
  readonly #now: () => number;
  readonly #max: typeof USUAL;
  #since = 0;
  #messages = 0;
  #size = 0;

  /** `max`: within a minute. */
  constructor(now: () => number, max: Partial<typeof USUAL> = {}) {
    this.#now = now;
    this.#max = { ...USUAL, ...max };
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
    return this.#messages > this.#max.messages || this.#size > this.#max.size;
  }
}
