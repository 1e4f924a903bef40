import { type JsonObject, parseStrictJson } from "../base/index.ts";

/** Longer ones are refused before anything of them is read. */
export const MAX_TOKEN_LENGTH = 16 * 1024;
const MAX_KID_LENGTH = 512;
/** Three parts, none of them empty: a JWS (RFC 7515 §7.1) with a signature. A JWE has five. */
const SIGNED = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
/** What a token says it is when it is for nothing in particular (RFC 7519 §5.1, RFC 9068 §2.1). */
const PLAIN_TYPES = ["jwt", "at+jwt"];

/** The header of a token that may be verified, or why it may not be. */
export type ReadToken = { header: JsonObject } | { refused: string };

/**
 * Reads the header of a token and refuses what no key needs to be looked for: what is too long, no JWS, of an algorithm that
 * does not count, or wants to be understood in a way we do not (`crit`, `b64`). `type`: what `typ` has to be; absent: a plain token,
 * so that one made for another purpose never counts (RFC 8725 §3.11, §3.12).
 */
export function readToken(
  token: string,
  algorithms: readonly string[],
  type?: string,
  maxLength = MAX_TOKEN_LENGTH,
): ReadToken {
  if (token.length > maxLength) return { refused: "too_long" };
  if (!SIGNED.test(token)) return { refused: "no_jws" };
  const header = objectOf(token.slice(0, token.indexOf(".")));
  if (header === undefined) return { refused: "header_malformed" };
  const { alg, kid, typ } = header;
  if (typeof alg !== "string" || !algorithms.includes(alg)) return { refused: "algorithm" };
  // RFC 7515 §4.1.11, RFC 7797 §7: an extension that is not understood, and we understand none.
  if (header.crit !== undefined || header.b64 !== undefined) return { refused: "critical_extension" };
  if (kid !== undefined && (typeof kid !== "string" || kid.length > MAX_KID_LENGTH))
    return { refused: "key_id" };
  return rightType(typ, type) ? { header } : { refused: "type" };
}

/** What a token says, believed by nobody yet: to find whose it claims to be. Undefined: it is no JWT. */
export function unverifiedClaims(token: string): JsonObject | undefined {
  if (token.length > MAX_TOKEN_LENGTH || !SIGNED.test(token)) return undefined;
  return objectOf(token.split(".")[1]!);
}

function rightType(typ: unknown, wanted: string | undefined): boolean {
  if (typ === undefined) return wanted === undefined;
  if (typeof typ !== "string") return false;
  const name = shortType(typ);
  return wanted === undefined ? PLAIN_TYPES.includes(name) : name === shortType(wanted);
}

/** RFC 7515 §4.1.9: `application/` may be left out. */
function shortType(typ: string): string {
  return typ.toLowerCase().replace(/^application\//, "");
}

function objectOf(part: string): JsonObject | undefined {
  try {
    const value = parseStrictJson(Buffer.from(part, "base64url"), { maxBytes: MAX_TOKEN_LENGTH });
    const plain = typeof value === "object" && value !== null && !Array.isArray(value);
    return plain ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}
