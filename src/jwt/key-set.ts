import { createLocalJWKSet, type JWK, type JWTVerifyGetKey } from "jose";
import { JsonFault, OutboundError, Problem, parseStrictJson, type World } from "../base/index.ts";

const MAX_BYTES = 256 * 1024;
const TIMEOUT_MS = 5_000;
/** Keys beyond are not read: each can cost a verification where a token does not say which it needs. */
const MAX_KEYS = 64;
/** After so long it is asked whether they are still the same: a key that was withdrawn counts no longer. */
const FRESH_MS = 5 * 60_000;
/** Where the issuer does not answer, the keys it last gave count for so long. */
const KEPT_MS = 24 * 60 * 60_000;
/** Between two fetches, whatever tokens come (attack ID-16). */
const PAUSE_MS = 30_000;
/** The same while there are no keys at all, and every token would be turned away. */
const PAUSE_WITHOUT_KEYS_MS = 5_000;

/** The keys at one address: fetched when they are needed, one fetch at a time, kept, and renewed as the issuer rotates. */
export class RemoteKeySet {
  readonly #world: World;
  readonly #url: string;
  #keys: JWTVerifyGetKey | undefined;
  #fetchedAt = 0;
  #triedAt = Number.NEGATIVE_INFINITY;
  #failed = false;
  #fetching: Promise<void> | undefined;

  constructor(world: World, url: string) {
    this.#world = world;
    this.#url = url;
  }

  /** The keys that count now. Throws 503 `issuer_keys_unavailable` where there are none. */
  async current(): Promise<JWTVerifyGetKey> {
    const age = this.#now() - this.#fetchedAt;
    if (!this.#keys || age > FRESH_MS) {
      const renewal = this.#renew();
      // One request waits to see whether the issuer answers; while it does not, those after it need not.
      if (renewal && !(this.#failed && this.#usable())) await renewal;
    }
    if (this.#keys && this.#usable()) return this.#keys;
    throw this.#unavailable();
  }

  /**
   * For a token whose key is not among those `tried`: keys fetched since, or undefined when it is too early to ask again. Throws
   * 503 when the issuer did not answer, because nobody can tell whether it has such a key.
   */
  async newerThan(tried: JWTVerifyGetKey): Promise<JWTVerifyGetKey | undefined> {
    if (this.#keys === tried) await this.#renew();
    if (this.#failed) throw this.#unavailable();
    return this.#keys === tried ? undefined : this.#keys;
  }

  #usable(): boolean {
    return this.#now() - this.#fetchedAt <= KEPT_MS;
  }

  /** Never rejects. Undefined: it is too early to ask again. */
  #renew(): Promise<void> | undefined {
    if (this.#fetching) return this.#fetching;
    const pause = this.#keys && this.#usable() ? PAUSE_MS : PAUSE_WITHOUT_KEYS_MS;
    if (this.#now() - this.#triedAt < pause) return undefined;
    this.#triedAt = this.#now();
    this.#fetching = this.#fetch().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetch(): Promise<void> {
    try {
      const keys = createLocalJWKSet({ keys: await fetchKeys(this.#world, this.#url) });
      this.#keys = keys;
      this.#fetchedAt = this.#now();
      this.#failed = false;
    } catch (error) {
      this.#failed = true;
      this.#world.log.warn("jwt.keys_not_renewed", { url: this.#url, error });
    }
  }

  #unavailable(): Problem {
    return new Problem(
      "unavailable",
      "issuer_keys_unavailable",
      "The keys of this token's issuer cannot be read just now. Try again in a moment.",
      { retryAfter: 5, log: { url: this.#url } },
    );
  }

  #now(): number {
    return this.#world.now().getTime();
  }
}

async function fetchKeys(world: World, url: string): Promise<JWK[]> {
  const response = await world.outbound.fetch(url, {
    headers: { accept: "application/json, application/jwk-set+json" },
    policy: "admin",
    maxBytes: MAX_BYTES,
    timeoutMs: TIMEOUT_MS,
    redirects: 0,
  });
  if (response.status !== 200) throw new OutboundError("protocol");
  try {
    return publicKeys(parseStrictJson(new Uint8Array(await response.arrayBuffer())));
  } catch (error) {
    throw error instanceof JsonFault ? new OutboundError("protocol") : error;
  }
}

/** The members of a key set that anybody may see; a secret in a published set is no secret. Throws where it is no key set. */
export function publicKeys(set: unknown): JWK[] {
  const keys = typeof set === "object" && set !== null && "keys" in set ? set.keys : undefined;
  if (!Array.isArray(keys)) throw new OutboundError("protocol");
  return keys
    .filter((key) => typeof key === "object" && key !== null && key.kty !== "oct" && key.d === undefined)
    .slice(0, MAX_KEYS);
}
