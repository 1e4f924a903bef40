import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createSecretKey,
  type KeyObject,
} from "node:crypto";
import type { World } from "./world.ts";
import { ValueKeys } from "./xaes.ts";

/** Sealed with the key itself: values made before there were data keys. */
const DIRECT = 1;
/** Sealed with a key of its own, derived from a data key. */
const DERIVED = 2;
const KEY_ID_BYTES = 8;
const NONCE_BYTES = 12;
const LONG_NONCE_BYTES = 24;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + KEY_ID_BYTES;

/** What a ciphertext belongs to. It is authenticated with it, so a value copied to another row or owner does not open. */
export type SealContext = readonly [purpose: string, ...parts: string[]];

export class SealFault extends Error {
  readonly reason: "damaged" | "unknown_key";

  constructor(reason: "damaged" | "unknown_key") {
    super(
      reason === "damaged" ? "a sealed value does not open" : "a sealed value names a key that is not here",
    );
    this.name = "SealFault";
    this.reason = reason;
  }
}

/** A key that values are sealed with. `direct`: one that sealed them before there were data keys. */
export interface DataKey {
  bytes: Uint8Array;
  direct: boolean;
}

/** What a `Seal` works with. The first of `direct` seals as long as no data key is `active`. */
export interface KeyRing {
  direct: readonly Uint8Array[];
  /** Oldest first. */
  data: readonly DataKey[];
  active?: DataKey;
}

interface Key {
  /** Version and key id: what every value sealed with it begins with. */
  header: Buffer;
  /** Prepared once: a fresh key object costs more than what it is for. */
  secret: KeyObject;
  /** Of a data key: the keys of single values. */
  values?: ValueKeys;
  /** For nonces that are a hash. */
  nonces: KeyObject;
}

/**
 * Secrets at rest. A data key seals with XAES-256-GCM (xaes.ts): every value has a key and a nonce of its own from 192
 * random bits, so the 2^32 values that one key may seal (SP 800-38D §8.3) need no counting. Layouts: 2, data key id, nonce,
 * ciphertext, tag; and from before there were data keys, AES-256-GCM: 1, key id, nonce, ciphertext, tag.
 */
export class Seal {
  readonly #random: World["random"];
  #keys = new Map<string, Key>();
  #active!: Key;
  #oldest!: Key;
  /** Told when a value names a key that is not here: another replica may have made it a moment ago. Resolves true where there are other keys now. */
  #renew: () => Promise<boolean> = async () => false;

  /** `keys`: 32 bytes each, used directly; `use` brings data keys. */
  constructor(keys: readonly Uint8Array[], random: World["random"]) {
    this.#random = random;
    this.use({ direct: keys, data: [] });
  }

  /** Works with these keys from here on. With none at all it can neither seal nor open. */
  use({ direct, data, active }: KeyRing): void {
    const keys = [
      ...data.map((key) => prepare(key)),
      ...direct.map((bytes) => prepare({ bytes, direct: true })),
    ];
    this.#keys = new Map(keys.toReversed().map((key) => [key.header.toString("latin1"), key]));
    const sealing = active ? prepare(active) : keys[data.length];
    if (sealing) this.#active = sealing;
    // Before there is an active data key, other versions of the gateway seal with the first key too.
    const alike = active ? keys[0] : sealing;
    if (alike) this.#oldest = alike;
  }

  /** `renew` looks for keys that came since, and resolves true when there are some. */
  renewWith(renew: () => Promise<boolean>): void {
    this.#renew = renew;
  }

  /** For who has met an `unknown_key`: whether it is worth trying again. */
  renew(): Promise<boolean> {
    return this.#renew();
  }

  /** Identifies the sealing key without revealing it; fit for a log or an error. */
  get keyId(): string {
    return this.#active.header.toString("hex", 1);
  }

  /** What every value begins with that is sealed from here on: version and key id. */
  get header(): Buffer {
    return this.#active.header;
  }

  seal(plaintext: string | Uint8Array, context: SealContext): Buffer {
    const key = this.#active;
    return seal(key, plaintext, context, this.#random(nonceBytes(key)));
  }

  /**
   * The same plaintext in the same context gives the same value, on every replica and after a rotation: for ids, which
   * must not change from one answer to the next. Tells only that two values are equal. The nonce is a keyed hash of both
   * (as in RFC 5297, SIV), so that no nonce serves two plaintexts; the key is the oldest there is.
   */
  sealAlike(plaintext: string, context: SealContext): Buffer {
    const key = this.#oldest;
    const hmac = createHmac("sha256", key.nonces).update("postern nonce").update(encodeContext(context));
    return seal(key, plaintext, context, hmac.update(plaintext).digest().subarray(0, nonceBytes(key)));
  }

  /** Throws `SealFault` when the value is damaged, belongs elsewhere, or was sealed with a key that is not here. */
  open(sealed: Uint8Array, context: SealContext): Buffer {
    const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
    const body = HEADER_BYTES + (bytes[0] === DIRECT ? NONCE_BYTES : LONG_NONCE_BYTES);
    if (bytes.length < body + TAG_BYTES || (bytes[0] !== DIRECT && bytes[0] !== DERIVED))
      throw new SealFault("damaged");
    const key = this.#keys.get(bytes.toString("latin1", 0, HEADER_BYTES));
    if (!key) throw new SealFault("unknown_key");
    const own = keyOf(key, bytes.subarray(HEADER_BYTES, body));
    const decipher = createDecipheriv("aes-256-gcm", own.key, own.nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(encodeContext(context, key));
    decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
    try {
      const plaintext = decipher.update(bytes.subarray(body, bytes.length - TAG_BYTES));
      return Buffer.concat([plaintext, decipher.final()]);
    } catch {
      throw new SealFault("damaged");
    }
  }

  openText(sealed: Uint8Array, context: SealContext): string {
    return this.open(sealed, context).toString("utf8");
  }
}

/** Identifies a key without revealing it: 16 hexadecimal digits. A data key that unwraps to another id is another key. */
export function dataKeyId({ bytes, direct }: DataKey): string {
  return createHash("sha256")
    .update(direct ? "postern key id" : "postern data key id")
    .update(bytes)
    .digest("hex")
    .slice(0, 2 * KEY_ID_BYTES);
}

/** What every value begins with that is sealed with this key. */
export function sealedHeader(key: DataKey): Buffer {
  return Buffer.concat([Buffer.of(key.direct ? DIRECT : DERIVED), Buffer.from(dataKeyId(key), "hex")]);
}

function prepare(key: DataKey): Key {
  const secret = createSecretKey(key.bytes);
  const header = sealedHeader(key);
  if (key.direct) return { header, secret, nonces: secret };
  const nonces = createHmac("sha256", secret).update("postern nonce key").digest();
  return { header, secret, values: new ValueKeys(secret), nonces: createSecretKey(nonces) };
}

function nonceBytes({ values }: Key): number {
  return values ? LONG_NONCE_BYTES : NONCE_BYTES;
}

function seal(key: Key, plaintext: string | Uint8Array, context: SealContext, nonce: Uint8Array): Buffer {
  const own = keyOf(key, nonce);
  const cipher = createCipheriv("aes-256-gcm", own.key, own.nonce);
  cipher.setAAD(encodeContext(context, key));
  return Buffer.concat([key.header, nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function keyOf({ secret, values }: Key, nonce: Uint8Array): { key: KeyObject; nonce: Uint8Array } {
  return values ? values.of(nonce) : { key: secret, nonce };
}

/** Length-prefixed, so that no two different contexts encode alike. With a data key, version and key id stand before it. */
function encodeContext(context: SealContext, key?: Key): Buffer {
  const parts: Buffer[] = key?.values ? [key.header] : [];
  for (const part of context) {
    const bytes = Buffer.from(part, "utf8");
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    parts.push(length, bytes);
  }
  return Buffer.concat(parts);
}
