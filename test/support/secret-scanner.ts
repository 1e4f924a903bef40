import { inflateRawSync } from "node:zlib";
import { marker } from "./marked.ts";

/** Where a secret stood that should not: never the secret itself. */
export interface Found {
  /** Which secret: "the marker", or what kind of value it is. */
  secret: string;
  /** How it was written. */
  form: string;
  /** The text around it, with everything that could be of the secret blotted out. */
  near: string;
}

interface Needle {
  bytes: Buffer;
  secret: string;
  form: string;
}

/** Bytes that are compared before anything else; every needle is longer. */
const HEAD = 4;
const NEAR = 48;
const MOST_FOUND = 5;

/**
 * Looks for secrets in bytes, in every way in which text gets into files, logs and pages: as it is, in UTF-16, base64 and
 * base64url at each alignment, hexadecimal, percent-encoded, as a JSON string. One pass, however many secrets.
 */
export class SecretScanner {
  readonly #heads = new Uint8Array(65_536);
  readonly #needles = new Map<number, Needle[]>();

  /** `secrets`: exact values with what they are; the marker is always looked for. */
  constructor(secrets: Iterable<readonly [value: string, what: string]> = []) {
    this.#add(marker, "the marker");
    // A random value that is kept as bytes shows the marker's own bytes.
    this.#addNeedle({ bytes: Buffer.from(marker, "base64url"), secret: "the marker", form: "random bytes" });
    this.#add(Buffer.from(marker, "base64url").toString("hex"), "the marker");
    for (const [value, what] of secrets) this.#add(value, what);
  }

  /** At most five places, in the order of the bytes; what gzip packed is looked into as well. */
  find(bytes: Uint8Array): Found[] {
    const found = this.#findPlain(bytes);
    for (const unpacked of packedIn(bytes)) found.push(...this.#findPlain(unpacked));
    return found.slice(0, MOST_FOUND);
  }

  #findPlain(bytes: Uint8Array): Found[] {
    const found: Found[] = [];
    const last = bytes.length - HEAD;
    for (let at = 0; at <= last; at++) {
      const head = headOf(bytes, at);
      if (this.#heads[head] === 0) continue;
      for (const needle of this.#needles.get(head) ?? []) {
        if (!standsAt(bytes, at, needle.bytes)) continue;
        found.push({
          secret: needle.secret,
          form: needle.form,
          near: around(bytes, at, needle.bytes.length),
        });
        if (found.length >= MOST_FOUND) return found;
        break;
      }
    }
    return found;
  }

  #add(value: string, secret: string): void {
    const known = new Set<string>();
    for (const [form, text] of formsOf(value)) {
      const bytes = typeof text === "string" ? Buffer.from(text) : text;
      const key = bytes.toString("latin1");
      if (bytes.length <= HEAD || known.has(key)) continue;
      known.add(key);
      this.#addNeedle({ bytes, secret, form });
    }
  }

  #addNeedle(needle: Needle): void {
    const head = headOf(needle.bytes, 0);
    this.#heads[head] = 1;
    const others = this.#needles.get(head);
    if (others) others.push(needle);
    else this.#needles.set(head, [needle]);
  }
}

function* formsOf(value: string): Generator<[form: string, text: string | Buffer]> {
  yield ["as it is", value];
  yield ["in UTF-16", Buffer.from(value, "utf16le")];
  const hex = Buffer.from(value).toString("hex");
  yield ["hexadecimal", hex];
  yield ["hexadecimal", hex.toUpperCase()];
  yield ["percent-encoded", encodeURIComponent(value.toWellFormed())];
  yield ["percent-encoded", `%${hex.match(/../g)!.join("%")}`];
  yield ["percent-encoded", `%${hex.toUpperCase().match(/../g)!.join("%")}`];
  yield ["as a JSON string", JSON.stringify(value).slice(1, -1)];
  for (const shift of [0, 1, 2]) {
    const text = inBase64(value, shift);
    yield ["base64", text];
    yield ["base64url", text.replaceAll("+", "-").replaceAll("/", "_")];
  }
}

/** The characters of base64 that are of `value` alone when `shift` other bytes stand before it and any after it. */
function inBase64(value: string, shift: number): string {
  const bytes = Buffer.concat([Buffer.alloc(shift), Buffer.from(value)]);
  const first = shift === 0 ? 0 : shift + 1;
  const whole = Math.floor((bytes.length * 8) / 6);
  return bytes.toString("base64").slice(first, whole);
}

/** RFC 1952 §2.3: a member without a name. */
const GZIP = Buffer.from([0x1f, 0x8b, 0x08, 0x00]);
const GZIP_HEADER_BYTES = 10;
const MOST_UNPACKED = 16_000_000;

function* packedIn(bytes: Uint8Array): Generator<Buffer> {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = all.indexOf(GZIP); at >= 0; at = all.indexOf(GZIP, at + 1)) {
    try {
      yield inflateRawSync(all.subarray(at + GZIP_HEADER_BYTES), { maxOutputLength: MOST_UNPACKED });
    } catch {
      // Four bytes of something else.
    }
  }
}

function headOf(bytes: Uint8Array, at: number): number {
  return (bytes[at]! ^ (bytes[at + 1]! << 3) ^ (bytes[at + 2]! << 6) ^ (bytes[at + 3]! << 8)) & 0xffff;
}

function standsAt(bytes: Uint8Array, at: number, wanted: Buffer): boolean {
  if (at + wanted.length > bytes.length) return false;
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}

/** Names of columns and keys help to find the place; what looks random may be the rest of a secret. */
function around(bytes: Uint8Array, at: number, length: number): string {
  const text = (from: number, to: number) =>
    Buffer.from(bytes.subarray(Math.max(0, from), to))
      .toString("latin1")
      .replaceAll(/[^\x20-\x7e]+/g, " ")
      .replaceAll(/[\w+/%-]{13,}/g, "…");
  return `${text(at - NEAR, at)}[…]${text(at + length, at + length + NEAR)}`;
}
