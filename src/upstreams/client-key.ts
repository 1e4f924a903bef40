import { isSigningKey, Problem } from "../base/index.ts";

/** A key that signs client assertions, as it was given: PEM (PKCS #8) or the JSON of a private JWK. */
export function checkPrivateKey(text: string): void {
  const param = "oauth_config.private_key";
  if (isSigningKey(text)) return;
  const message =
    "Give a private key as PEM (PKCS #8, not encrypted) or as a JWK: RSA with at least 2048 bits, P-256, P-384, P-521 or Ed25519.";
  throw new Problem("invalid", "invalid_private_key", message, { param });
}
