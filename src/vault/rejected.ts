import type { World } from "../base/index.ts";
import type { Credential } from "./credential.ts";

/** Two secrets in a row that are refused within this time: a third would be refused as well. */
const IN_A_ROW_MS = 60_000;
const MOST_REMEMBERED = 10_000;

/** Which secrets were refused by their upstream lately, as far as this replica saw. */
export class Rejected {
  readonly #world: Pick<World, "now">;
  readonly #last = new Map<string, { generation: number; at: number }>();

  constructor(world: Pick<World, "now">) {
    this.#world = world;
  }

  /** Notes one. True: the secret before it was refused, too, and renewing it again will not help. */
  note({ id, generation }: Credential): boolean {
    const at = this.#world.now().getTime();
    const last = this.#last.get(id);
    if (last && last.generation >= generation) return false;
    if (this.#last.size >= MOST_REMEMBERED) this.#last.clear();
    this.#last.set(id, { generation, at });
    return last !== undefined && at - last.at < IN_A_ROW_MS;
  }
}
