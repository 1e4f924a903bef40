import { createPrivateKey, type JsonWebKey, type KeyObject } from "node:crypto";
import { type ClientAuth, type PrivateKey, PrivateKeyJwt } from "oauth4webapi";
import type { Hidden } from "./hidden.ts";

const MIN_RSA_BITS = 2048;
const CURVES: Record<string, string> = { prime256v1: "P-256", secp384r1: "P-384", secp521r1: "P-521" };
const PEM = /^-----BEGIN (RSA |EC )?PRIVATE KEY-----/;

/** Whether this is a key that client assertions can be signed with: PEM (PKCS #8) or the JSON of a private JWK. */
export function isSigningKey(text: string): boolean {
  return read(text) !== undefined;
}

/**
 * RFC 7523 §2.2: proves us at a token endpoint by a signed assertion (iss and sub the client, aud the issuer, a fresh jti,
 * a minute to live). `keyId`: the `kid`, where it is not in the JWK.
 */
export function privateKeyJwt(privateKey: Hidden, keyId?: string): ClientAuth {
  let prove: ClientAuth | undefined;
  return (server, client, body, headers) => {
    prove ??= PrivateKeyJwt(signer(privateKey.reveal(), keyId));
    return prove(server, client, body, headers);
  };
}

function signer(text: string, keyId: string | undefined): PrivateKey {
  const given = read(text);
  if (!given) throw new Error("a stored private key that cannot be read");
  const { key, jwk } = given;
  const kid = keyId ?? (typeof jwk?.kid === "string" ? jwk.kid : undefined);
  const signing = key.toCryptoKey(algorithmOf(key, jwk?.alg), false, ["sign"]) as PrivateKey["key"];
  return { key: signing, ...(kid ? { kid } : {}) };
}

interface Given {
  key: KeyObject;
  jwk?: Record<string, unknown>;
}

function read(text: string): Given | undefined {
  try {
    const jwk = PEM.test(text.trim()) ? undefined : (JSON.parse(text) as Record<string, unknown>);
    const key = jwk
      ? createPrivateKey({ key: jwk as JsonWebKey, format: "jwk" })
      : createPrivateKey({ key: text, format: "pem" });
    // Whatever the library cannot sign with is refused when it is given, not when it is used.
    key.toCryptoKey(algorithmOf(key, jwk?.alg), false, ["sign"]);
    return { key, jwk };
  } catch {
    return undefined;
  }
}

function algorithmOf(key: KeyObject, alg: unknown): Parameters<KeyObject["toCryptoKey"]>[0] {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === "ed25519") return { name: "Ed25519" };
  if (type === "ec") return { name: "ECDSA", namedCurve: CURVES[details?.namedCurve ?? ""] } as never;
  if (type !== "rsa" || (details?.modulusLength ?? 0) < MIN_RSA_BITS)
    throw new Error("not a key we sign with");
  const [, padding = "RS", bits = "256"] = /^(RS|PS)(256|384|512)$/.exec(String(alg ?? "RS256")) ?? [];
  const name = padding === "PS" ? "RSA-PSS" : "RSASSA-PKCS1-v1_5";
  return { name, hash: `SHA-${bits}` } as never;
}
