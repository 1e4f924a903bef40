/** How long after its answer a call may still be meant by what comes, and after it was given up without one. */
const ANSWERED_MS = 2_000;
const GIVEN_UP_MS = 10 * 60_000;
const MAX_KNOWN = 1_000;

/**
 * Of a connection that many people share: who was on it a moment ago. What comes on it and names no call may be about
 * something of theirs, so it goes to nobody else.
 */
export class Bystanders {
  readonly #now: () => number;
  readonly #until = new Map<string, number>();
  /** When there were too many to remember each. */
  #anybodyUntil = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** A call of `who` is over; undefined: somebody that nobody else is. */
  left(who: string | undefined, wasAnswered: boolean): void {
    const until = this.#now() + (wasAnswered ? ANSWERED_MS : GIVEN_UP_MS);
    const key = who ?? "";
    if (this.#until.size >= MAX_KNOWN) this.#prune();
    if (this.#until.size >= MAX_KNOWN) this.#anybodyUntil = Math.max(this.#anybodyUntil, until);
    else this.#until.set(key, Math.max(until, this.#until.get(key) ?? 0));
  }

  /** Whether nobody but `who` can be meant. */
  areNone(who: string | undefined): boolean {
    const now = this.#now();
    if (now < this.#anybodyUntil) return false;
    for (const [key, until] of this.#until) {
      if (now >= until) this.#until.delete(key);
      else if (who === undefined || key !== who) return false;
    }
    return true;
  }

  #prune(): void {
    const now = this.#now();
    for (const [key, until] of this.#until) if (now >= until) this.#until.delete(key);
  }
}
