import type { ProofKey } from "../base/index.ts";
import type { Credential, Opened } from "./credential.ts";
import type { Secret } from "./secret.ts";

/** An opened, usable credential. Times in milliseconds since 1970. */
export interface Warm {
  credential: Credential;
  secret: Secret;
  /** From here on it is refreshed before use. */
  refreshAt: number;
  /** From here on it is refreshed although no call waits for it, so that none has to. */
  aheadAt: number;
  /** A refresh failed for now; not before this time again. */
  refreshAfter: number;
  /** When this secret was first handed out for a call, and last; 0: not yet. */
  firstUsedAt: number;
  usedAt: number;
  /** What the database knows of `usedAt`. */
  notedUseAt: number;
  /** What it is handed out as, made once. */
  opened?: Opened;
  /** The key of tokens that are bound to one (RFC 9449), with the nonces it met. */
  key?: ProofKey;
}

const CAPACITY = 20_000;

interface Loading<T> {
  promise: Promise<T>;
  stale: boolean;
}

/**
 * Opened credentials, so that a warm call needs neither database nor crypto. Bounded, least recently used out first.
 * A reading that a change overtook is never kept.
 */
export class CredentialCache {
  readonly #entries = new Map<string, Warm>();
  readonly #loading = new Map<string, Loading<unknown>>();

  find(key: string): Warm | undefined {
    const warm = this.#entries.get(key);
    // While there is plenty of room, nothing is about to go, and the order does not matter.
    if (!warm || this.#entries.size < CAPACITY / 2) return warm;
    this.#entries.delete(key);
    this.#entries.set(key, warm);
    return warm;
  }

  /** Reads once for everybody who asks meanwhile; keeps what is usable. */
  async load<T extends { warm?: Warm }>(key: string, read: () => Promise<T>): Promise<T> {
    const running = this.#loading.get(key) as Loading<T> | undefined;
    if (running && !running.stale) return running.promise;
    const loading: Loading<T> = { promise: read(), stale: false };
    this.#loading.set(key, loading);
    try {
      const result = await loading.promise;
      if (result.warm && !loading.stale) this.#keep(key, result.warm);
      return result;
    } finally {
      if (this.#loading.get(key) === loading) this.#loading.delete(key);
    }
  }

  entries(): Iterable<[string, Warm]> {
    return this.#entries;
  }

  clear(): void {
    this.#entries.clear();
    for (const loading of this.#loading.values()) loading.stale = true;
  }

  drop(key: string): void {
    this.#entries.delete(key);
    const loading = this.#loading.get(key);
    if (loading) loading.stale = true;
  }

  dropUpstream(upstreamId: string): void {
    for (const [key, warm] of this.#entries) {
      if (warm.credential.upstreamId === upstreamId) this.#entries.delete(key);
    }
    for (const loading of this.#loading.values()) loading.stale = true;
  }

  #keep(key: string, warm: Warm): void {
    const before = this.#entries.get(key);
    if (before && before.credential.id === warm.credential.id) inherit(warm, before);
    this.#entries.set(key, warm);
    if (this.#entries.size > CAPACITY) this.#entries.delete(this.#entries.keys().next().value!);
  }
}

/** What was seen of a credential stays known; what was seen of its secret, while it is the same one. */
export function inherit(warm: Warm, before: Warm): void {
  warm.usedAt = Math.max(warm.usedAt, before.usedAt);
  if (warm.credential.generation === before.credential.generation) warm.firstUsedAt = before.firstUsedAt;
}
