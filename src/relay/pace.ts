import type { World } from "../base/index.ts";

const FIRST_MS = 1_000;
const LONGEST_MS = 60_000;
/** However long an upstream wants us to stay away. */
const LONGEST_TOLD_MS = 5 * 60_000;

/** Growing pauses between tries, each somewhere between a half and the whole, so that many do not come at the same moment. */
export class Pace {
  readonly #random: World["random"];
  readonly #firstMs: number;
  #failures = 0;

  constructor(random: World["random"], firstMs = FIRST_MS) {
    this.#random = random;
    this.#firstMs = firstMs;
  }

  /** Milliseconds until the next try. `told`: how long the upstream wants, at least. */
  next(told = 0): number {
    const whole = Math.min(this.#firstMs * 2 ** Math.min(this.#failures, 16), LONGEST_MS);
    this.#failures += 1;
    return Math.max(Math.min(told, LONGEST_TOLD_MS), this.spread(whole));
  }

  /** It went well; the next pause is the first again. */
  reset(): void {
    this.#failures = 0;
  }

  spread(ms: number): number {
    const [a = 0, b = 0] = this.#random(2);
    return ms * (0.5 + (a * 256 + b) / 131_072);
  }
}
