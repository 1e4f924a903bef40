/**
 * Signed statements of others (JWTs): whether an issuer we trust made one, for us, now; the keys of those issuers, fetched
 * and kept; and which one-time assertions were accepted before. What a statement means is its caller's business.
 */
export { claimAt } from "./claim.ts";
export {
  type JwtIssuer,
  type JwtKind,
  jwtConfig,
  trustedIssuerFault,
  trustedIssuerOf,
  trustedIssuerShape,
} from "./config.ts";
export { type JwtMeaning, meaningOf } from "./meaning.ts";
export { unverifiedClaims } from "./read-token.ts";
export { SpentAssertions } from "./spent-assertions.ts";
export {
  asymmetricAlgorithms,
  type IssuerKeys,
  secretAlgorithms,
  type TrustedIssuer,
} from "./trusted-issuer.ts";
export { type JwtExpectation, type JwtVerdict, JwtVerifier } from "./verifier.ts";
