import { createPublicKey, type KeyObject } from "node:crypto";
import {
  createLocalJWKSet,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  jwtVerify,
} from "jose";
import { type JsonObject, Problem, type World } from "../base/index.ts";
import { publicKeys, RemoteKeySet } from "./key-set.ts";
import { readToken } from "./read-token.ts";
import { countingAlgorithms, type IssuerKeys, type TrustedIssuer } from "./trusted-issuer.ts";

/** What a token must be, beyond well signed, of this issuer and not over. */
export interface JwtExpectation {
  /** Any of these in `aud`. */
  audience: string | readonly string[];
  /** What `typ` is; absent: a plain token. */
  type?: string;
  /** How long ago it may have been made; `iat` is then required. */
  maxAgeMs?: number;
  /** How long it may be; absent: as long as a header of a request. */
  maxLength?: number;
  /** Claims that must be there, besides `iss`, `aud` and `exp`. */
  require?: readonly string[];
}

/** `reason` is for the log: what was wrong, in a word or two, and nothing that stood in the token. */
export type JwtVerdict =
  | { ok: true; claims: Record<string, unknown>; header: JsonObject }
  | { ok: false; reason: string };

/** Addresses whose keys are kept; those that were asked for first go first. */
const MAX_ADDRESSES = 256;
/** Verifications that a token without a key id may cost, where several keys could be meant. */
const MAX_TRIALS = 16;

/** Says whether a token was made by an issuer we trust, for us, and counts now (RFC 7519, RFC 8725). */
export class JwtVerifier {
  readonly #world: World;
  readonly #remote = new Map<string, RemoteKeySet>();
  readonly #local = new WeakMap<IssuerKeys, JWTVerifyGetKey | KeyObject | Uint8Array>();

  constructor(parts: { world: World }) {
    this.#world = parts.world;
  }

  /** Throws 503 `issuer_keys_unavailable` when the issuer's keys cannot be had; everything else about a token is a verdict. */
  async verify(trusted: TrustedIssuer, token: string, expect: JwtExpectation): Promise<JwtVerdict> {
    const algorithms = countingAlgorithms(trusted);
    const read = readToken(token, algorithms, expect.type, expect.maxLength);
    if ("refused" in read) return { ok: false, reason: read.refused };
    const options = this.#options(trusted, algorithms, expect);
    try {
      const claims = await this.#claims(trusted.keys, token, read.header, options);
      return { ok: true, claims, header: read.header };
    } catch (error) {
      if (error instanceof Problem) throw error;
      return { ok: false, reason: reasonOf(error) };
    }
  }

  #options(
    { issuer, clockSkewMs }: TrustedIssuer,
    algorithms: string[],
    { audience, maxAgeMs, require = [] }: JwtExpectation,
  ): JWTVerifyOptions {
    return {
      algorithms: algorithms as JWTVerifyOptions["algorithms"],
      issuer,
      audience: typeof audience === "string" ? audience : [...audience],
      currentDate: this.#world.now(),
      clockTolerance: clockSkewMs / 1000,
      maxTokenAge: maxAgeMs === undefined ? undefined : maxAgeMs / 1000,
      requiredClaims: ["exp", ...require],
    };
  }

  async #claims(
    keys: IssuerKeys,
    token: string,
    header: JsonObject,
    options: JWTVerifyOptions,
  ): Promise<JWTPayload> {
    if (!("jwksUrl" in keys)) return verifyWith(this.#given(keys), token, options);
    const remote = this.#at(keys.jwksUrl);
    const current = await remote.current();
    try {
      return await verifyWith(current, token, options);
    } catch (error) {
      const renewed = lacksKey(error, header) ? await remote.newerThan(current) : undefined;
      if (!renewed) throw error;
      return verifyWith(renewed, token, options);
    }
  }

  #at(url: string): RemoteKeySet {
    const known = this.#remote.get(url);
    if (known) return known;
    const oldest = this.#remote.size < MAX_ADDRESSES ? undefined : this.#remote.keys().next().value;
    if (oldest !== undefined) this.#remote.delete(oldest);
    const made = new RemoteKeySet(this.#world, url);
    this.#remote.set(url, made);
    return made;
  }

  #given(keys: Exclude<IssuerKeys, { jwksUrl: string }>): JWTVerifyGetKey | KeyObject | Uint8Array {
    const known = this.#local.get(keys);
    if (known) return known;
    const made = open(keys);
    this.#local.set(keys, made);
    return made;
  }
}

function open(keys: Exclude<IssuerKeys, { jwksUrl: string }>): JWTVerifyGetKey | KeyObject | Uint8Array {
  if ("secret" in keys) return new TextEncoder().encode(keys.secret.reveal());
  if ("publicKey" in keys) return createPublicKey(keys.publicKey);
  return createLocalJWKSet({ keys: publicKeys(keys.jwks) });
}

async function verifyWith(
  key: JWTVerifyGetKey | KeyObject | Uint8Array,
  token: string,
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  if (typeof key !== "function") return (await jwtVerify(token, key, options)).payload;
  try {
    return (await jwtVerify(token, key, options)).payload;
  } catch (error) {
    if (error instanceof errors.JWKSMultipleMatchingKeys) return tryEach(error, token, options);
    throw error;
  }
}

/** A token without a key id, and several keys it could mean (RFC 7515 §4.1.4 makes `kid` optional). */
async function tryEach(
  candidates: errors.JWKSMultipleMatchingKeys,
  token: string,
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  let trials = 0;
  for await (const key of candidates) {
    if (++trials > MAX_TRIALS) break;
    try {
      return (await jwtVerify(token, key, options)).payload;
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
    }
  }
  throw new errors.JWKSNoMatchingKey();
}

/** Whether a verification may have failed because the issuer has a new key. */
function lacksKey(error: unknown, { kid }: JsonObject): boolean {
  if (error instanceof errors.JWKSNoMatchingKey) return true;
  return kid === undefined && error instanceof errors.JWSSignatureVerificationFailed;
}

/** Our words for what the library found; its messages may quote the token. */
function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return "expired";
  if (error instanceof errors.JWTClaimValidationFailed) return `${error.reason}_${error.claim}`;
  if (error instanceof errors.JOSEError) return error.code.toLowerCase().replace(/^err_/, "");
  return "unverifiable";
}
