import { Problem } from "../base/index.ts";

/** Calls one identity may have under way at once (MC-26). */
const MAX_UNDER_WAY = 256;

/** How many calls each identity has under way. */
export class CallsUnderWay {
  readonly #counts = new Map<string, number>();

  /** Throws `Problem` when there are too many. Each call that entered leaves once. */
  enter(binding: string): void {
    const count = this.#counts.get(binding) ?? 0;
    if (count >= MAX_UNDER_WAY) {
      const message = `${MAX_UNDER_WAY} calls are under way already. Wait for some to end.`;
      throw new Problem("too_many", "too_many_calls", message, { retryAfter: 1 });
    }
    this.#counts.set(binding, count + 1);
  }

  leave(binding: string): void {
    const left = (this.#counts.get(binding) ?? 1) - 1;
    if (left > 0) this.#counts.set(binding, left);
    else this.#counts.delete(binding);
  }
}
