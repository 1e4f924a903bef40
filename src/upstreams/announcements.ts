/** How soon a list that changed is read again, how soon after that, and how often in a row. */
const GATHER_MS = 50;
const SPACING_MS = 1_000;
const BURST = 10;
/** What is used up of the burst comes back one by one. */
const REFILL_MS = 30_000;

interface Announced {
  left: number;
  /** On the process's clock. */
  readAt: number;
  timer?: NodeJS.Timeout;
}

/**
 * When to read the lists of upstreams that say they changed: at once for one that says so now and then, less and less often
 * for one that goes on saying so (MC-39).
 */
export class Announcements {
  readonly #read: (id: string, detail: unknown) => void;
  readonly #announced = new Map<string, Announced>();
  #closed = false;

  constructor(read: (id: string, detail: unknown) => void) {
    this.#read = read;
  }

  /** `detail`: for the reading; of several before it the first counts. */
  take(id: string, detail: unknown): void {
    const announced = this.#announced.get(id) ?? { left: BURST, readAt: Number.NEGATIVE_INFINITY };
    if (announced.timer || this.#closed) return;
    this.#announced.set(id, announced);
    const now = performance.now();
    const back = Math.floor((now - announced.readAt) / REFILL_MS);
    announced.left = Math.min(BURST, announced.left + back);
    const earliest = announced.readAt + (announced.left > 0 ? SPACING_MS : REFILL_MS);
    announced.timer = setTimeout(
      () => {
        announced.timer = undefined;
        announced.readAt = performance.now();
        announced.left = Math.max(announced.left - 1, 0);
        this.#read(id, detail);
      },
      Math.max(GATHER_MS, earliest - now),
    ).unref();
  }

  /** What belongs to an upstream that is gone. */
  forget(id: string): void {
    clearTimeout(this.#announced.get(id)?.timer);
    this.#announced.delete(id);
  }

  close(): void {
    this.#closed = true;
    for (const { timer } of this.#announced.values()) clearTimeout(timer);
    this.#announced.clear();
  }
}
