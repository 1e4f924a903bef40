import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";
import { dataKeyId, type World } from "../base/index.ts";
import { WrongKey } from "../db/index.ts";
import type { KeyProvider, Wrapped, WrappedFor } from "./provider.ts";

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** The keys of POSTERN_ENCRYPTION_KEY or the key file: the first wraps, all of them unwrap. AES-256-GCM. */
export class LocalKeys implements KeyProvider {
  readonly type = "local";
  readonly #keys: ReadonlyMap<string, Uint8Array>;
  readonly #random: World["random"];
  readonly #first: string;

  /** `keys`: 32 bytes each, at least one. */
  constructor(keys: readonly Uint8Array[], random: World["random"]) {
    const named = keys.map((bytes) => [dataKeyId({ bytes, direct: true }), bytes] as const);
    this.#keys = new Map(named);
    this.#first = named[0]![0];
    this.#random = random;
  }

  get key(): string {
    return this.#first;
  }

  get older(): string[] {
    return [...this.#keys.keys()].slice(1);
  }

  unwraps(by: string): boolean {
    return this.#keys.has(by);
  }

  async wrap(key: Uint8Array, about: WrappedFor): Promise<Wrapped> {
    const nonce = this.#random(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#wrappingKey(this.#first), nonce);
    cipher.setAAD(context(about));
    const body = [cipher.update(key), cipher.final(), cipher.getAuthTag()];
    return { bytes: Buffer.concat([Buffer.of(VERSION), nonce, ...body]), by: this.#first };
  }

  async unwrap({ bytes, by }: Wrapped, about: WrappedFor): Promise<Uint8Array> {
    const nonce = bytes.subarray(1, 1 + NONCE_BYTES);
    try {
      if (bytes[0] !== VERSION) throw new Error("another layout");
      const options = { authTagLength: TAG_BYTES };
      const decipher = createDecipheriv("aes-256-gcm", this.#wrappingKey(by), nonce, options);
      decipher.setAAD(context(about));
      decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
      const body = bytes.subarray(1 + NONCE_BYTES, bytes.length - TAG_BYTES);
      return Buffer.concat([decipher.update(body), decipher.final()]);
    } catch {
      throw new WrongKey(
        `The data key ${about.dataKeyId} in this database is damaged: the encryption key ${by} does not unwrap it. Restore the table data_keys from a backup.`,
      );
    }
  }

  async close(): Promise<void> {}

  /** Another key than the configured one: that one also sealed values directly, before there were data keys. */
  #wrappingKey(id: string): Uint8Array {
    return createHmac("sha256", this.#keys.get(id)!).update("postern wrapping key").digest();
  }
}

/** Both have a fixed alphabet without the separator. */
function context({ dataKeyId, instanceId }: WrappedFor): Buffer {
  return Buffer.from(`postern data key\0${dataKeyId}\0${instanceId}`);
}
