import { createHash, hash } from "node:crypto";

const BLOCK_BYTES = 64;

/**
 * Bearer values are looked up by this keyed hash and never stored themselves. The key is random, made once, sealed in
 * the database (db/instance.ts), and so survives rotation of the encryption key.
 */
export class KeyedHash {
  readonly #inner: Buffer;
  readonly #outer: Buffer;

  /** `key`: 32 bytes. */
  constructor(key: Uint8Array) {
    this.#inner = paddedKey(key, 0x36);
    this.#outer = paddedKey(key, 0x5c);
  }

  /**
   * HMAC-SHA-256 (RFC 2104 §2), 43 characters. `purpose` keeps kinds apart: a refresh token never matches where a code is
   * looked up. Two one-shot hashes over the padded key: every call of the gateway passes here, and an HMAC object costs
   * several times as much.
   */
  of(purpose: string, value: string): string {
    const inner = hash("sha256", Buffer.concat([this.#inner, Buffer.from(`${purpose}\0${value}`)]), "buffer");
    return hash("sha256", Buffer.concat([this.#outer, inner]), "base64url");
  }
}

/** Unkeyed SHA-256, base64url: for PKCE (RFC 7636 §4.2) and for digests of things that are not secret. */
export function sha256(value: string | Uint8Array): string {
  return createHash("sha256").update(value).digest("base64url");
}

function paddedKey(key: Uint8Array, pad: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES, pad);
  key.forEach((byte, index) => {
    block[index] = byte ^ pad;
  });
  return block;
}
