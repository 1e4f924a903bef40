import { type KeyedHash, type Settings, sha256 } from "../base/index.ts";
import { cookie, cookieName, type RateLimit, type RateLimits, readCookie } from "../http/index.ts";

const MINUTE = 60_000;
const YEAR_SECONDS = 365 * 24 * 60 * 60;

/** Wrong guesses only; beside the budget `guess` of the address, which counts everything. Each replica counts for itself. */
const limits = {
  /** At one account, from one address. */
  here: { requests: 10, windowMs: 15 * MINUTE },
  /** At one account, from all addresses together. */
  everywhere: { requests: 100, windowMs: 60 * MINUTE },
  /** At one account, from browsers in which its person has signed in before. */
  known: { requests: 20, windowMs: 15 * MINUTE },
  /** One-time codes of an account: a guess is right once in 300,000 times. */
  codes: { requests: 10, windowMs: 60 * MINUTE },
} satisfies Record<string, RateLimit>;

/** Takes the guess back: it was none. */
export type Refund = () => void;

export interface Guesser {
  /** As typed; one that nobody has counts like any other. */
  email: string;
  address: string;
  request: Request;
}

export interface GuessLimitsParts {
  limits: RateLimits;
  hash: KeyedHash;
  settings: Settings;
}

/**
 * Guessing is limited per address and per account. A stranger who guesses at an account from many addresses uses up what
 * strangers have, and not what its person has: a browser that has signed in before holds a cookie which says so and counts
 * apart. So nobody can be locked out for ever by others.
 */
export class GuessLimits {
  readonly #parts: GuessLimitsParts;

  constructor(parts: GuessLimitsParts) {
    this.#parts = parts;
  }

  /** Counts a password, before it is looked at. Throws 429 `rate_limited`. */
  password({ email, address, request }: Guesser): Refund {
    const account = sha256(email);
    if (this.#isKnown(request, email)) return this.#hold(limits.known, `known ${account}`);
    const here = this.#hold(limits.here, `here ${account} ${address}`);
    const everywhere = this.#hold(limits.everywhere, `everywhere ${account}`);
    return () => {
      here();
      everywhere();
    };
  }

  /** Counts a one-time code, before it is looked at. Throws 429 `rate_limited`. */
  code({ email, request }: Omit<Guesser, "address">): Refund {
    const known = this.#isKnown(request, email) ? "known" : "other";
    return this.#hold(limits.codes, `code ${known} ${sha256(email)}`);
  }

  /** The cookie of a browser in which this person has signed in. It proves nothing else. */
  known(email: string): [string, string] {
    return cookie(this.#cookieName, this.#mark(email), YEAR_SECONDS, this.#parts.settings);
  }

  #isKnown(request: Request, email: string): boolean {
    return readCookie(request, this.#cookieName) === this.#mark(email);
  }

  #mark(email: string): string {
    return this.#parts.hash.of("known_browser", `known to ${sha256(email)}`);
  }

  get #cookieName(): string {
    return cookieName("known", this.#parts.settings);
  }

  #hold(limit: RateLimit, key: string): Refund {
    return this.#parts.limits.hold(limit, key);
  }
}
