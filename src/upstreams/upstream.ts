import type { Hidden, Owner, Tls, ToolPinPolicy } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import type { StdioSettings } from "./stdio.ts";
import type { ToolChange } from "./tool-versions.ts";

export const authTypes = [
  "none",
  "headers",
  "oauth",
  "per_user_oauth",
  "per_user_headers",
  "token_exchange",
] as const;
export type AuthType = (typeof authTypes)[number];

export const connectionTypes = ["http", "sse", "stdio"] as const;
export type ConnectionType = (typeof connectionTypes)[number];

export const upstreamStates = [
  "healthy",
  "unstable",
  "needs_reauth",
  "pending_verification",
  "disabled",
  "error",
] as const;
export type UpstreamState = (typeof upstreamStates)[number];

export type Era = "modern" | "legacy";
export type Source = "api" | "file";

/** A tool as the upstream describes it: its original name, every field kept. */
export interface ToolDefinition {
  name: string;
  [key: string]: unknown;
}

/** A resource, template or prompt as the upstream describes it, every field kept. */
export interface FeatureDefinition {
  name: string;
  [key: string]: unknown;
}

/** What an upstream offers beside tools; a list it does not offer is empty. */
export interface Features {
  /** As it declared them: `server/discover`, or the answer to `initialize`. */
  readonly capabilities: Readonly<Record<string, unknown>>;
  readonly resources: readonly FeatureDefinition[];
  readonly templates: readonly FeatureDefinition[];
  readonly prompts: readonly FeatureDefinition[];
}

/**
 * All but the first: the gateway's own token, nobody consents. `client_credentials` (RFC 6749 §4.4); `jwt_bearer`: a workload's
 * JWT is shown (RFC 7523 §2.1); `token_exchange`: an identity assertion is exchanged at the identity provider for such a JWT
 * (RFC 8693, ID-JAG).
 */
export const grantTypes = [
  "authorization_code",
  "client_credentials",
  "jwt_bearer",
  "token_exchange",
] as const;
export type GrantType = (typeof grantTypes)[number];

/** RFC 8693 §3: what an identity assertion is, by the last word of its URN. */
export const subjectTokenTypes = ["id_token", "refresh_token", "access_token", "saml2", "jwt"] as const;
export type SubjectTokenType = (typeof subjectTokenTypes)[number];

/** RFC 8693 §3: what is asked for in exchange for a caller's token. */
export const requestedTokenTypes = ["access_token", "jwt"] as const;
export type RequestedTokenType = (typeof requestedTokenTypes)[number];

export const authMethods = ["client_secret_basic", "client_secret_post", "private_key_jwt"] as const;

/** What the administrator said about the upstream's authorization server; all of it optional but the redirect. */
export interface OAuthSettings {
  /** Absent: `authorization_code`. */
  grantType?: GrantType;
  clientId?: string;
  /** The value is sealed in the database; this only says that there is one. */
  hasClientSecret: boolean;
  /** The same for the key that signs client assertions (RFC 7523 §2.2). */
  hasPrivateKey?: boolean;
  /** `kid` of the assertions; absent: that of the JWK, if it has one. */
  privateKeyId?: string;
  /** How a given client proves itself at the token endpoint; absent: what fits the metadata. */
  authMethod?: (typeof authMethods)[number];
  authorizeUrl?: string;
  tokenUrl?: string;
  registrationUrl?: string;
  revocationUrl?: string;
  scopes: readonly string[];
  /** RFC 8707 §2. The empty string: send no `resource` (for servers that refuse the parameter). */
  resource?: string;
  /** The provider whose profile counts; absent: the one that is recognised. */
  profile?: string;
  /** Whether tokens are bound to a key (RFC 9449); absent: where the upstream takes such tokens. */
  dpop?: boolean;
  /** What is shown for a token of the gateway's own, sealed in the database; or read from a file when it is needed. */
  hasAssertion?: boolean;
  assertionFile?: string;
  /** Absent: `id_token`. */
  subjectTokenType?: SubjectTokenType;
  /** Each caller's own token is exchanged (`auth_type` token_exchange), by RFC 8693 or, with `jwt_bearer`, on behalf of. */
  exchangesCallers?: true;
  /** Whom an exchanged token is for (RFC 8693 §2.1), beside the resource. */
  audience?: string;
  requestedTokenType?: RequestedTokenType;
  /** Where an identity assertion is exchanged, and who we are there. */
  idp?: { tokenUrl: string; clientId: string; hasClientSecret: boolean };
  /** `own`: a redirect URI for this upstream alone; `shared`: the fixed one, for clients registered so. */
  redirect: "own" | "shared";
}

/** Why the last tool list could not be read, in words for the administrator. */
export interface Failure {
  code: string;
  message: string;
  /** Milliseconds since 1970. */
  at: number;
}

/** A server we stand in front of ("MCP client" on the wire). A value: changes make a new one. */
export interface Upstream {
  readonly id: string;
  readonly name: string;
  readonly source: Source;
  readonly connectionType: ConnectionType;
  /** `stdio:` and the command for one that is a program. */
  readonly url: URL;
  readonly stdio?: StdioSettings;
  readonly authType: AuthType;
  /** Whether each owner brings a credential of their own. */
  readonly perUser: boolean;
  /** Whether that is one which the caller's own token is exchanged for: nobody connects it, and it is stored nowhere. */
  readonly exchanged?: boolean;
  /** Whether one credential of the upstream's own (owner mode `shared`) is used for everybody's calls. */
  readonly shared?: boolean;
  /** Static headers for every request, lower-case names. */
  readonly headers: Readonly<Record<string, Hidden>>;
  /** Absent: the public authorities are trusted and no certificate of ours is shown. */
  readonly tls?: Tls;
  /** Names that each owner gives values for, as the administrator spelled them; empty unless `per_user_headers`. */
  readonly perUserHeaderKeys: readonly string[];
  /** Original tool names; `["*"]` is all of them, `[]` none. */
  readonly toolsToExecute: readonly string[];
  readonly allowOnAllVirtualKeys: boolean;
  readonly disabled: boolean;
  readonly state: UpstreamState;
  /** Rises with every change of address or authorization; late writers and pools compare it. */
  readonly generation: number;
  readonly era?: Era;
  /** As clients see them: approved definitions only. */
  readonly tools: readonly ToolDefinition[];
  /** What becomes of a tool whose definition changes. */
  readonly toolPins: ToolPinPolicy;
  /** How many definitions wait for an administrator. */
  readonly heldTools: number;
  /** Absent until a list was approved by being read first. */
  readonly toolsApprovedAt?: number;
  /** Absent until it was asked. */
  readonly features?: Features;
  readonly toolsSyncedAt?: number;
  readonly timeoutMs: number;
  readonly syncIntervalMs: number;
  readonly allowedExtraHeaders: readonly string[];
  readonly oauth?: OAuthSettings;
  /** The row of `oauth_configs` and the redirect URI shown since creation; set for upstreams with OAuth. */
  readonly oauthConfigId?: string;
  readonly redirectUri?: string;
  /** Differs between two readings in one transaction when client, secret, key or endpoints changed between them. */
  readonly oauthVersion?: number;
  readonly lastFailure?: Failure;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** Whether the gateway obtains the shared credential by itself. */
export function obtainsOwnToken({ oauth }: { oauth?: Pick<OAuthSettings, "grantType"> }): boolean {
  return oauth?.grantType !== undefined && oauth.grantType !== "authorization_code";
}

/** Whether a person can give the gateway a credential of their own for it. */
export function isConnectable({ perUser, exchanged }: Pick<Upstream, "perUser" | "exchanged">): boolean {
  return perUser && exchanged !== true;
}

/** Whose the credential of an `oauth` upstream is: the upstream's own. No person has it, and it lists tools too. */
export function sharedOwner(upstream: { id: string }): Owner {
  return { mode: "shared", id: upstream.id };
}

/** Definitions of its tools that wait for an administrator from now on, and those that counted at once. */
export interface ToolNews {
  held: readonly ToolChange[];
  followed: readonly ToolChange[];
}

/** What must follow a change of an upstream, in the same transaction; handed over in app.ts. */
export interface UpstreamListener {
  changed?(tx: Tx, before: Upstream, after: Upstream): Promise<void>;
  deleted?(tx: Tx, upstream: Upstream): Promise<void>;
  toolsChanged?(tx: Tx, upstream: Upstream, news: ToolNews): Promise<void>;
}

/**
 * Whether credentials given for `before` must not be used for `after`: another address, another client, another
 * authorization server (attack rule R9). Static headers and scopes do not count.
 */
export function authorizationMoved(before: Upstream, after: Upstream): boolean {
  return before.url.href !== after.url.href || authorizationOf(before) !== authorizationOf(after);
}

/** Names of the static headers that are sent; where each person has a value of their own, theirs goes instead. */
export function adminHeaderKeys({ headers, perUserHeaderKeys }: Upstream): string[] {
  const personal = new Set(perUserHeaderKeys.map((name) => name.toLowerCase()));
  return Object.keys(headers).filter((name) => !personal.has(name));
}

/** The same names in another order or case are the same. */
export function sameHeaderKeys(before: Upstream, after: Upstream): boolean {
  const names = ({ perUserHeaderKeys }: Upstream) =>
    perUserHeaderKeys
      .map((name) => name.toLowerCase())
      .toSorted()
      .join(" ");
  return names(before) === names(after);
}

function authorizationOf(upstream: Upstream): string {
  const { oauth } = upstream;
  return JSON.stringify([
    upstream.authType,
    oauth?.grantType,
    oauth?.clientId,
    oauth?.authorizeUrl,
    oauth?.tokenUrl,
    oauth?.registrationUrl,
    oauth?.revocationUrl,
    oauth?.resource,
    oauth?.redirect,
    oauth?.profile,
    oauth?.dpop,
    oauth?.assertionFile,
    oauth?.subjectTokenType,
    oauth?.audience,
    oauth?.requestedTokenType,
    oauth?.idp?.tokenUrl,
    oauth?.idp?.clientId,
  ]);
}
