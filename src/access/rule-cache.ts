import type { Rules } from "./decide.ts";

const MOST_ENTRIES = 20_000;

/** Rules and what they hang on. `validUntil`: a key that expires takes its part with it. Milliseconds. */
export interface Computed {
  rules: Rules;
  validUntil: number;
  /** The keys that have a part in them, or would have if they were switched on. */
  keyIds: readonly string[];
}

/** Rules in memory by the name of their subject, dropped one by one when something of theirs changes. */
export class RuleCache {
  readonly #known = new Map<string, Computed>();
  readonly #byKey = new Map<string, Set<string>>();
  #epoch = 0;

  /** Rises with whatever is dropped: what was read before it is not kept. */
  get epoch(): number {
    return this.#epoch;
  }

  get(name: string): Computed | undefined {
    return this.#known.get(name);
  }

  /** Kept unless something was dropped since `epoch`. */
  set(name: string, computed: Computed, epoch: number): void {
    if (epoch !== this.#epoch) return;
    if (this.#known.size >= MOST_ENTRIES) this.#clear();
    this.#forget(name);
    this.#known.set(name, computed);
    for (const keyId of computed.keyIds) {
      const names = this.#byKey.get(keyId);
      if (names) names.add(name);
      else this.#byKey.set(keyId, new Set([name]));
    }
  }

  drop(name: string): void {
    this.#epoch += 1;
    this.#forget(name);
  }

  /** Everybody's rules that the key has a part in. */
  dropKey(keyId: string): void {
    this.#epoch += 1;
    for (const name of [...(this.#byKey.get(keyId) ?? [])]) this.#forget(name);
  }

  dropAll(): void {
    this.#epoch += 1;
    this.#clear();
  }

  #forget(name: string): void {
    const known = this.#known.get(name);
    if (!known) return;
    this.#known.delete(name);
    for (const keyId of known.keyIds) {
      const names = this.#byKey.get(keyId);
      names?.delete(name);
      if (names?.size === 0) this.#byKey.delete(keyId);
    }
  }

  #clear(): void {
    this.#known.clear();
    this.#byKey.clear();
  }
}
