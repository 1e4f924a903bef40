import type { Hidden } from "../base/index.ts";

/** Where the keys of an issuer are: at an address, given as a set (RFC 7517 §5), as one PEM key, or a secret shared with us. */
export type IssuerKeys = { jwksUrl: string } | { jwks: object } | { publicKey: string } | { secret: Hidden };

/** Whose statements count, and what they must be signed with. */
export interface TrustedIssuer {
  /** Exactly what `iss` says. */
  issuer: string;
  keys: IssuerKeys;
  /** The only ones that count; fixed for the issuer and never taken from a token (RFC 8725 §3.1). */
  algorithms: readonly string[];
  /** How far the issuer's clock may be from ours, in milliseconds. */
  clockSkewMs: number;
}

/** Algorithms whose key can be shown to everybody. */
export const asymmetricAlgorithms = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
] as const;

/** Algorithms whose key is a secret of two. */
export const secretAlgorithms = ["HS256", "HS384", "HS512"] as const;

/**
 * The algorithms that count with the kind of key there is: a public key never verifies as if it were a secret (RFC 8725 §2.1),
 * whatever the list says.
 */
export function countingAlgorithms({ keys, algorithms }: TrustedIssuer): string[] {
  const possible: readonly string[] = "secret" in keys ? secretAlgorithms : asymmetricAlgorithms;
  return algorithms.filter((name) => possible.includes(name));
}
