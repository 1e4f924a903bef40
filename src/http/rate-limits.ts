import { Problem, type World } from "../base/index.ts";
import type { RateClass } from "./route.ts";

export interface RateLimit {
  requests: number;
  windowMs: number;
}

/** Generous for people and their clients, tight for guessing and flooding. Per address, per replica. */
export const defaultRateLimits: Record<Exclude<RateClass, "none">, RateLimit> = {
  guess: { requests: 20, windowMs: 5 * 60_000 },
  register: { requests: 60, windowMs: 60_000 },
  authorize: { requests: 120, windowMs: 60_000 },
  token: { requests: 600, windowMs: 60_000 },
  api: { requests: 1200, windowMs: 60_000 },
};

const MAX_ENTRIES = 50_000;

interface Window {
  count: number;
  endsAt: number;
}

/** Fixed windows in memory, bounded: when too many addresses are known, the oldest windows go first. */
export class RateLimits {
  readonly #world: World;
  readonly #limits: typeof defaultRateLimits;
  readonly #windows = new Map<string, Window>();

  constructor(world: World, limits: typeof defaultRateLimits = defaultRateLimits) {
    this.#world = world;
    this.#limits = limits;
  }

  /** Counts one request of `key` (an address, a flow id); throws 429 when its window is used up. */
  take(cls: RateClass, key: string): void {
    if (cls !== "none") this.#count(this.#limits[cls], `${cls} ${key}`);
  }

  /** The same with a limit of the caller's own. What it returns takes the count back: for who turned out to be right. */
  hold(limit: RateLimit, key: string): () => void {
    const window = this.#count(limit, `own ${key}`);
    return () => {
      window.count -= 1;
    };
  }

  #count({ requests, windowMs }: RateLimit, name: string): Window {
    const now = this.#world.now().getTime();
    let window = this.#windows.get(name);
    if (!window || window.endsAt <= now) {
      window = { count: 0, endsAt: now + windowMs };
      this.#windows.delete(name);
      this.#windows.set(name, window);
      if (this.#windows.size > MAX_ENTRIES) this.#windows.delete(this.#windows.keys().next().value!);
    }
    window.count += 1;
    if (window.count > requests) {
      throw new Problem("too_many", "rate_limited", "Too many requests. Wait a little and try again.", {
        retryAfter: (window.endsAt - now) / 1000,
      });
    }
    return window;
  }
}
