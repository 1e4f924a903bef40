import type { World } from "../base/index.ts";

const FIRST_MS = 1_000;
const LONGEST_MS = 60_000;
const MOST_REMEMBERED = 10_000;

/** How long each credential waits after one more failure of its provider: twice as long each time, with jitter. */
export class BackOff {
  readonly #world: Pick<World, "random">;
  readonly #failures = new Map<string, number>();

  constructor(world: Pick<World, "random">) {
    this.#world = world;
  }

  /** Milliseconds; at least what the provider asks for. */
  next(credentialId: string, retryAfterMs = 0): number {
    const failures = (this.#failures.get(credentialId) ?? 0) + 1;
    if (this.#failures.size > MOST_REMEMBERED) this.#failures.clear();
    this.#failures.set(credentialId, failures);
    const pause = Math.min(LONGEST_MS, FIRST_MS * 2 ** (failures - 1));
    const jittered = pause * (0.5 + this.#world.random(1)[0]! / 512);
    return Math.ceil(Math.max(jittered, retryAfterMs));
  }

  forget(credentialId: string): void {
    this.#failures.delete(credentialId);
  }
}
