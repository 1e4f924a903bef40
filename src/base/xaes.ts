import { type Cipheriv, createCipheriv, createSecretKey, type KeyObject } from "node:crypto";

const BLOCK_BYTES = 16;
const SALT_BYTES = 12;

/**
 * The key derivation of XAES-256-GCM (https://c2sp.org/XAES-256-GCM, SP 800-108 with AES-CMAC): half of a 192-bit nonce
 * gives a key, the other half is the nonce of AES-256-GCM. So 2^80 values may share one key with random nonces.
 */
export class ValueKeys {
  /** One block does not hang on another, so one cipher serves them all. */
  readonly #cipher: Cipheriv;
  /** Both messages, already combined with the CMAC subkey; what is left is one block of AES each. */
  readonly #blocks: Buffer;

  /** `key`: 256 bits. */
  constructor(key: KeyObject) {
    // Whole blocks: without padding everything comes out of `update`.
    this.#cipher = createCipheriv("aes-256-ecb", key, null).setAutoPadding(false);
    const subkey = doubled(this.#cipher.update(Buffer.alloc(BLOCK_BYTES)));
    const label = (counter: number) => Buffer.from([0, counter, 0x58, 0, ...Buffer.alloc(SALT_BYTES)]);
    this.#blocks = Buffer.concat([xor(label(1), subkey), xor(label(2), subkey)]);
  }

  /** `nonce`: 24 bytes, random. */
  of(nonce: Uint8Array): { key: KeyObject; nonce: Uint8Array } {
    const blocks = Buffer.from(this.#blocks);
    for (let at = 0; at < SALT_BYTES; at++) {
      blocks[4 + at]! ^= nonce[at]!;
      blocks[BLOCK_BYTES + 4 + at]! ^= nonce[at]!;
    }
    // Node takes ten times as long over a key that is no key object.
    return { key: createSecretKey(this.#cipher.update(blocks)), nonce: nonce.subarray(SALT_BYTES) };
  }
}

/** Times x in GF(2^128) (SP 800-38B §6.1). */
function doubled(block: Buffer): Buffer {
  const result = Buffer.alloc(BLOCK_BYTES);
  for (let at = 0; at < BLOCK_BYTES; at++) {
    result[at] = ((block[at]! << 1) | ((block[at + 1] ?? 0) >> 7)) & 0xff;
  }
  if (block[0]! & 0x80) result[BLOCK_BYTES - 1]! ^= 0x87;
  return result;
}

function xor(one: Buffer, other: Buffer): Buffer {
  return Buffer.from(one.map((byte, at) => byte ^ other[at]!));
}
