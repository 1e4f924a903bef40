/** A complete answer given instead of the real one. Objects are sent as JSON, strings as they are. */
export interface CannedAnswer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

/** A request that waits. `arrived` resolves when it is there; it goes on with `release()`, latest after `HOLD_MS`. */
export interface Held {
  arrived: Promise<void>;
  release(): void;
}

export type Fault =
  | { kind: "answer"; answer: CannedAnswer }
  | { kind: "hold"; when: "before" | "after"; arrive(): void; released: Promise<void> }
  /** The request takes effect, its answer is lost: the connection is cut. */
  | { kind: "lose" };

const HOLD_MS = 60_000;

/** What goes wrong with the next requests to an endpoint: first in, first out. */
export class Faults<Endpoint extends string> {
  readonly #queues = new Map<Endpoint, Fault[]>();
  readonly #releases = new Set<() => void>();

  /** The next `times` requests get this answer and have no effect. */
  failNext(endpoint: Endpoint, answer: CannedAnswer, times = 1): void {
    for (let i = 0; i < times; i++) this.#add(endpoint, { kind: "answer", answer });
  }

  /** The next request waits `before` it takes effect (default), or `after`, with only its answer outstanding. */
  holdNext(endpoint: Endpoint, when: "before" | "after" = "before"): Held {
    const arrived = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const timer = setTimeout(released.resolve, HOLD_MS);
    timer.unref();
    const release = (): void => {
      clearTimeout(timer);
      this.#releases.delete(release);
      released.resolve();
    };
    this.#releases.add(release);
    this.#add(endpoint, { kind: "hold", when, arrive: arrived.resolve, released: released.promise });
    return { arrived: arrived.promise, release };
  }

  /** The next request takes effect and its answer never arrives. */
  loseNext(endpoint: Endpoint): void {
    this.#add(endpoint, { kind: "lose" });
  }

  take(endpoint: Endpoint | undefined): Fault | undefined {
    return endpoint === undefined ? undefined : this.#queues.get(endpoint)?.shift();
  }

  /** Forgets what was planned and lets everybody go on. */
  clear(): void {
    this.#queues.clear();
    for (const release of [...this.#releases]) release();
  }

  #add(endpoint: Endpoint, fault: Fault): void {
    const queue = this.#queues.get(endpoint) ?? [];
    queue.push(fault);
    this.#queues.set(endpoint, queue);
  }
}
