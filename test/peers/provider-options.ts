import type { SubjectOf } from "./exchange-grant.ts";
import type { InteractionMode } from "./interactions.ts";

export type WellKnown = "oauth-authorization-server" | "openid-configuration";

export interface AuthorizationServerOptions {
  /** 0 (default) takes any free port. */
  port?: number;
  /** A path in the issuer, for example `/tenant`: the metadata stands at the path-inserted URLs then. */
  issuerPath?: string;
  /** RFC 7591; default true. */
  dynamicRegistration?: boolean;
  /**
   * Switches Client ID Metadata Documents on. Called instead of fetching the `https` client id (nothing but loopback
   * is reachable from a test); answers the document, or undefined for 404.
   */
  clientDocument?: (clientId: string) => unknown;
  /** Clients known beforehand, as RFC 7591 metadata with `client_id` and, where used, `client_secret`. */
  clients?: Record<string, unknown>[];
  /** Access tokens for a resource; default "opaque". Tokens without a resource are always opaque. */
  accessTokens?: "opaque" | "jwt";
  /** Seconds; default 3600. May be changed later on the returned object. */
  accessTokenTtl?: number;
  /** A refresh gives a new refresh token and the old one works no more; default true. */
  rotateRefreshTokens?: boolean;
  /** Default true. */
  refreshTokens?: boolean;
  /** Scopes of every resource; default `["mcp", "mcp:write"]`. */
  scopes?: string[];
  /** What a request without `scope` asks for; default the first of `scopes`. */
  defaultScope?: string;
  /** The resources tokens may be for; default every http(s) URL. Others are refused with `invalid_target`. */
  resources?: string[];
  /** Wants its nonce in every proof (RFC 9449 §8); default false. */
  dpopNonce?: boolean;
  /** RFC 7592; default false. */
  registrationManagement?: boolean;
  /** RFC 8628: codes that are typed at `/device`; default false. */
  deviceFlow?: boolean;
  /** The provider signs people in for others: what it says of each, and its log-out in both directions; default off. */
  people?: People;
  /** Whose token it is that a client exchanges (RFC 8693); absent: none can be. Such a client has the grant in `grant_types`. */
  exchange?: SubjectOf;
  /** RFC 7009; default true. */
  revocation?: boolean;
  /** Which metadata documents exist; default both. */
  wellKnown?: WellKnown[];
  /**
   * "auto" (default): the interaction logs `accountForNextLogin` in and consents by redirects alone.
   * "page": minimal HTML forms for a real browser.
   */
  interaction?: InteractionMode;
}

/** What the ID token says of an account, beyond `sub`; only claims that are named are said. */
export interface People {
  names: readonly string[];
  claims(account: string): Record<string, unknown>;
}

export interface TokenRequest {
  grantType: string;
  params: Record<string, unknown>;
  /** The `Authorization` header, where the client sent one. */
  authorization: string | undefined;
  /** The status the client got; 0 where the answer was lost. */
  status: number;
}

/** What an access token says. */
export interface VerifiedToken {
  account: string;
  clientId: string;
  scopes: string[];
  audience: string | undefined;
  /** Seconds since the epoch. */
  expiresAt: number;
  /** The thumbprint of the key that it is bound to (RFC 9449). */
  jkt?: string;
}
