import { createHmac, createSecretKey, hash, type KeyObject } from "node:crypto";

/**
 * Bearer values are looked up by this keyed hash and never stored themselves. The key is random, made once, sealed in
 * the database (db/instance.ts), and so survives rotation of the encryption key.
 */
export class KeyedHash {
  /** Prepared once: every call of the gateway passes here, and a fresh key object costs more than the hash. */
  readonly #key: KeyObject;

  /** `key`: 32 bytes. */
  constructor(key: Uint8Array) {
    this.#key = createSecretKey(key);
  }

  /**
   * HMAC-SHA-256, 43 characters. `purpose` keeps kinds apart: a refresh token never matches where a code is looked up.
   */
  of(purpose: string, value: string): string {
    return createHmac("sha256", this.#key).update(`${purpose}\0${value}`).digest("base64url");
  }
}

/** Unkeyed SHA-256, base64url: for PKCE (RFC 7636 §4.2) and for digests of things that are not secret. */
export function sha256(value: string | Uint8Array): string {
  return hash("sha256", value, "base64url");
}
