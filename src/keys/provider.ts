import { WrongKey } from "../db/index.ts";

/** What a data key is wrapped for: bound to the wrapping where the provider can, so that it opens nowhere else. */
export interface WrappedFor {
  dataKeyId: string;
  /** Random, made with the first data key. */
  instanceId: string;
}

export interface Wrapped {
  bytes: Uint8Array;
  /** The key that wrapped it, as `unwraps` will be asked: no secret. */
  by: string;
}

/**
 * Keeps a key-encryption key, or knows who does. It is asked at the start, when another process made a key, and by
 * `postern keys`: never for a value.
 */
export interface KeyProvider {
  /** As in `key_providers[].type`. */
  readonly type: string;
  /** The key it wraps with now: no secret. */
  readonly key: string;
  /** Further keys that it only unwraps with. */
  readonly older: readonly string[];
  /** Whether it can unwrap what this key wrapped. */
  unwraps(by: string): boolean;
  /** Rejects with `WrongKey` (an operator has to change something) or `KeyProviderDown`. */
  wrap(key: Uint8Array, about: WrappedFor): Promise<Wrapped>;
  /** Rejects as `wrap` does. */
  unwrap(wrapped: Wrapped, about: WrappedFor): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** It did not answer, or is not able to now: nothing an operator of the gateway has to change. */
export class KeyProviderDown extends Error {
  override name = "KeyProviderDown";
}

/** What a provider says when it refuses: how it is called, and what to look at. Never what was sent or answered. */
export function refused(provider: string, key: string, why: string): WrongKey {
  return new WrongKey(`${provider} refuses to use the key ${key}: ${why}`);
}
