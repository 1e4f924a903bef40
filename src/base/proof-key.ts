import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  sign,
} from "node:crypto";
import { Hidden } from "./hidden.ts";
import type { World } from "./world.ts";

/** One request that a proof is for. */
export interface Proven {
  method: string;
  url: URL;
  /** The access token that goes with it; absent at a token endpoint. */
  token?: string;
  /** Where the proof is bound to it too. */
  body?: string | Uint8Array;
}

/** RFC 9449 §8: opaque, but it goes into a header of ours. */
const NONCE = /^[\x21-\x7e]{1,1024}$/;
/** The origins that one key meets: a token endpoint, perhaps another for refreshing, and the resource. */
const MOST_ORIGINS = 8;

/** A key that tokens are bound to, and proofs that it is ours (DPoP, RFC 9449): ES256, one key for each credential. */
export class ProofKey {
  readonly #key: KeyObject;
  readonly #public: Record<string, unknown>;
  /** The newest nonce of each origin. */
  readonly #nonces = new Map<string, string>();
  #header: string | undefined;

  private constructor(key: KeyObject) {
    this.#key = key;
    const { kty, crv, x, y } = createPublicKey(key).export({ format: "jwk" });
    this.#public = { crv, kty, x, y };
  }

  static make(): ProofKey {
    return new ProofKey(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey);
  }

  /** From what `secret` gave. */
  static open(secret: Hidden): ProofKey {
    const key = createPrivateKey({
      key: Buffer.from(secret.reveal(), "base64url"),
      format: "der",
      type: "pkcs8",
    });
    return new ProofKey(key);
  }

  /** The private key, to be sealed: PKCS #8, base64url. */
  get secret(): Hidden {
    return new Hidden(this.#key.export({ format: "der", type: "pkcs8" }).toString("base64url"));
  }

  /** `dpop_jkt` (RFC 9449 §10): the thumbprint of RFC 7638, members in the order of their names. */
  get thumbprint(): string {
    return hash("sha256", JSON.stringify(this.#public), "base64url");
  }

  /** A proof for one request, fresh each time (RFC 9449 §4.2). */
  proof(world: Pick<World, "now" | "random">, { method, url, token, body }: Proven): string {
    this.#header ??= encoded({ alg: "ES256", typ: "dpop+jwt", jwk: this.#public });
    const claims = {
      jti: Buffer.from(world.random(16)).toString("base64url"),
      iat: Math.floor(world.now().getTime() / 1000),
      htm: method,
      // Without query and fragment.
      htu: url.origin + url.pathname,
      nonce: this.#nonces.get(url.origin),
      ath: token && hash("sha256", token, "base64url"),
      // The DPoP profile for MCP: all requests have one address, so the proof names the body too (RFC 9530 §2).
      content_digest: body && `sha-256=:${hash("sha256", body, "base64")}:`,
    };
    const signed = `${this.#header}.${encoded(claims)}`;
    const signature = sign("sha256", Buffer.from(signed), { key: this.#key, dsaEncoding: "ieee-p1363" });
    return `${signed}.${signature.toString("base64url")}`;
  }

  /** Remembers the `DPoP-Nonce` of an answer from `origin` (RFC 9449 §8.2); what is none is ignored. */
  heed(origin: string, nonce: unknown): void {
    if (typeof nonce !== "string" || !NONCE.test(nonce)) return;
    if (this.#nonces.size >= MOST_ORIGINS && !this.#nonces.has(origin)) this.#nonces.clear();
    this.#nonces.set(origin, nonce);
  }
}

function encoded(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
