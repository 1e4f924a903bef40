import type { World } from "../base/index.ts";
import type { Warm } from "./cache.ts";

/** A secret that was handed out so long ago and not refused since has been accepted. */
const ACCEPTED_AFTER_MS = 30_000;
const MOST_REMEMBERED = 10_000;

/**
 * Which access tokens their upstream has taken, as far as this replica saw: handed out for calls, for half a minute at least,
 * and not refused. In memory only; a replica that does not know tries one refresh token more (see redeem.ts).
 */
export class Worked {
  readonly #world: Pick<World, "now">;
  /** Of credentials that were refused later, and hence are not warm any more: the generation that had worked. */
  readonly #generations = new Map<string, number>();

  constructor(world: Pick<World, "now">) {
    this.#world = world;
  }

  has({ credential, firstUsedAt }: Warm): boolean {
    if (firstUsedAt > 0 && this.#world.now().getTime() - firstUsedAt >= ACCEPTED_AFTER_MS) return true;
    return this.#generations.get(credential.id) === credential.generation;
  }

  /** Before a credential is forgotten because its upstream refused it. */
  remember(warm: Warm): void {
    if (!this.has(warm)) return;
    if (this.#generations.size >= MOST_REMEMBERED) this.#generations.clear();
    this.#generations.set(warm.credential.id, warm.credential.generation);
  }
}
