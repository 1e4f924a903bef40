import type { AuthorizationServer } from "oauth4webapi";
import { Problem } from "../base/index.ts";
import type { ProviderFacts } from "./profile.ts";
import type { ProtectedResource } from "./protected-resource.ts";
import { type OAuthSettings, obtainsOwnToken } from "./upstream.ts";

/** Of scopes that a registration names for later. */
const MOST_FURTHER = 100;

/** MCP 2025-03-26 servers without RFC 9728 metadata are their own authorization server, at the root of their origin. */
export function fallbackIssuer(url: URL, oauth: OAuthSettings, ofProfile: string | undefined): string {
  const isNamed = oauth.authorizeUrl || obtainsOwnToken({ oauth });
  if (isNamed && oauth.tokenUrl) return new URL(oauth.tokenUrl).origin;
  return ofProfile ?? url.origin;
}

/** MCP "Scope Selection": the administrator's, else the challenge's, else what the metadata lists, with the profile's. */
export function chooseScopes(
  oauth: OAuthSettings,
  named: readonly string[],
  server: AuthorizationServer,
  facts: ProviderFacts | undefined,
): string[] {
  if (oauth.scopes.length > 0) return [...oauth.scopes];
  // RFC 6749 §4.4.3: no refresh token is given here, and what a profile adds is about people.
  if (obtainsOwnToken({ oauth })) return [...named];
  const offline = named.length > 0 && server.scopes_supported?.includes("offline_access");
  const added = named.length > 0 ? (facts?.scope?.add ?? []) : [];
  return [...new Set([...named, ...(offline ? ["offline_access"] : []), ...added])];
}

/** What may be asked for later (MCP "Step-Up Authorization Flow"); nothing where an administrator said how much it is. */
export function furtherScopes(
  { scopes }: OAuthSettings,
  { supportedScopes }: ProtectedResource,
  server: AuthorizationServer,
): string[] {
  if (scopes.length > 0) return [];
  return [...supportedScopes, ...(server.scopes_supported ?? [])].slice(0, MOST_FURTHER);
}

export function chooseResource(
  given: string | undefined,
  published: string | undefined,
  url: URL,
  facts: ProviderFacts | undefined,
): string | undefined {
  if (given !== undefined) return given === "" ? undefined : given;
  if (facts?.resource === "omit") return undefined;
  // MCP "Canonical Server URI": without a trailing slash where the path is empty.
  return published ?? (url.pathname === "/" && url.search === "" ? url.origin : url.href);
}

/** The algorithm of our keys (RFC 9449 §5.1). */
const PROOF_ALGORITHM = "ES256";

/**
 * Whether tokens are asked for that are bound to a key (RFC 9449): where the upstream takes them and its authorization server
 * makes them. A server that announces them for other resources does not decide for one that knows bearer tokens only.
 * Throws 422 `dpop_unsupported` where they are demanded and cannot be had.
 */
export function choosesProofs(
  { dpop }: OAuthSettings,
  { proofs }: ProtectedResource,
  server: AuthorizationServer,
): boolean {
  if (dpop === false) return false;
  const isPossible = server.dpop_signing_alg_values_supported?.includes(PROOF_ALGORITHM) === true;
  if (!isPossible && (dpop === true || proofs === "required")) {
    throw new Problem(
      "unprocessable",
      "dpop_unsupported",
      `Tokens bound to a key are wanted here, and the authorization server does not announce DPoP with ${PROOF_ALGORITHM}. Ask its operator, or set oauth_config.dpop to false.`,
      { param: "oauth_config.dpop" },
    );
  }
  return isPossible && (dpop === true || proofs !== "unmentioned");
}
