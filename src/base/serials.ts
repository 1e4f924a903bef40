import { newSecret } from "./ids.ts";
import type { World } from "./world.ts";

const COUNTER_DIGITS = 8;

/**
 * Ids for things of which there are thousands a second: random for the process, then counted. Unique and in order of
 * making within one process; to be guessed, so never a secret.
 */
export class Serials {
  readonly #prefix: string;
  #made = 0;

  constructor(world: Pick<World, "random">, prefix: string) {
    this.#prefix = `${prefix}_${newSecret(world).slice(0, 14)}`;
  }

  next(): string {
    return this.#prefix + (this.#made++).toString(36).padStart(COUNTER_DIGITS, "0");
  }
}
