import { createCipheriv, createDecipheriv, createHash, createHmac } from "node:crypto";
import type { World } from "./world.ts";

const VERSION = 1;
const KEY_ID_BYTES = 8;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + KEY_ID_BYTES;

/** What a ciphertext belongs to. It is authenticated with it, so a value copied to another row or owner does not open. */
export type SealContext = readonly [purpose: string, ...parts: string[]];

export class SealFault extends Error {
  readonly reason: "damaged" | "unknown_key";

  constructor(reason: "damaged" | "unknown_key") {
    super(
      reason === "damaged"
        ? "a sealed value does not open"
        : "a sealed value names a key that is not configured",
    );
    this.name = "SealFault";
    this.reason = reason;
  }
}

interface Key {
  id: Buffer;
  bytes: Buffer;
}

/**
 * Secrets at rest: AES-256-GCM with a random 96-bit nonce (NIST SP 800-38D §8.2.2: far below 2^32 values per key).
 * The first key seals, all of them open. Layout: version, key id, nonce, ciphertext, tag.
 */
export class Seal {
  readonly #keys: Key[];
  readonly #random: World["random"];

  /** `keys`: 32 bytes each, at least one. */
  constructor(keys: Uint8Array[], random: World["random"]) {
    this.#keys = keys.map((bytes) => ({ id: keyId(bytes), bytes: Buffer.from(bytes) }));
    this.#random = random;
  }

  /** Identifies the sealing key without revealing it; fit for a log or an error. */
  get keyId(): string {
    return this.#keys[0]!.id.toString("hex");
  }

  seal(plaintext: string | Uint8Array, context: SealContext): Buffer {
    return this.#seal(plaintext, context, this.#random(NONCE_BYTES));
  }

  /**
   * The same plaintext in the same context gives the same value, on every replica: for ids, which must not change from one
   * answer to the next. Tells only that two values are equal. The nonce is a keyed hash of both (as in RFC 5297, SIV), so
   * that no nonce serves two plaintexts.
   */
  sealAlike(plaintext: string, context: SealContext): Buffer {
    const hmac = createHmac("sha256", this.#keys[0]!.bytes)
      .update("postern nonce")
      .update(encodeContext(context));
    return this.#seal(plaintext, context, hmac.update(plaintext).digest().subarray(0, NONCE_BYTES));
  }

  #seal(plaintext: string | Uint8Array, context: SealContext, nonce: Uint8Array): Buffer {
    const key = this.#keys[0]!;
    const cipher = createCipheriv("aes-256-gcm", key.bytes, nonce);
    cipher.setAAD(encodeContext(context));
    const body = Buffer.concat([cipher.update(plaintext), cipher.final()]);
    return Buffer.concat([Buffer.of(VERSION), key.id, nonce, body, cipher.getAuthTag()]);
  }

  /** Throws `SealFault` when the value is damaged, belongs elsewhere, or was sealed with a key that is gone. */
  open(sealed: Uint8Array, context: SealContext): Buffer {
    const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
    if (bytes.length < HEADER_BYTES + NONCE_BYTES + TAG_BYTES || bytes[0] !== VERSION)
      throw new SealFault("damaged");
    const id = bytes.subarray(1, HEADER_BYTES);
    const key = this.#keys.find((candidate) => candidate.id.equals(id));
    if (!key) throw new SealFault("unknown_key");
    const nonce = bytes.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
    const body = bytes.subarray(HEADER_BYTES + NONCE_BYTES, bytes.length - TAG_BYTES);
    const decipher = createDecipheriv("aes-256-gcm", key.bytes, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(encodeContext(context));
    decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
    try {
      return Buffer.concat([decipher.update(body), decipher.final()]);
    } catch {
      throw new SealFault("damaged");
    }
  }

  openText(sealed: Uint8Array, context: SealContext): string {
    return this.open(sealed, context).toString("utf8");
  }
}

/** Length-prefixed, so that no two different contexts encode alike. */
function encodeContext(context: SealContext): Buffer {
  const parts: Buffer[] = [];
  for (const part of context) {
    const bytes = Buffer.from(part, "utf8");
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    parts.push(length, bytes);
  }
  return Buffer.concat(parts);
}

function keyId(bytes: Uint8Array): Buffer {
  return createHash("sha256").update("postern key id").update(bytes).digest().subarray(0, KEY_ID_BYTES);
}
