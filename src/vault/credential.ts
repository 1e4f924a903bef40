import type { Hidden, Owner } from "../base/index.ts";
import type { GrantType } from "../upstreams/index.ts";

export type CredentialStatus = "active" | "needs_reauth" | "needs_update";

/** What everybody may know of a credential. Times in milliseconds since 1970. */
export interface Credential {
  id: string;
  kind: "oauth" | "headers";
  owner: Owner;
  upstreamId: string;
  account: string;
  status: CredentialStatus;
  statusReason?: string;
  /** Access was lost; the status beneath shows again when it returns. */
  orphaned: boolean;
  /** Rises with every change of the secret or of whether it may be used. */
  generation: number;
  expiresAt?: number;
  scopes?: readonly string[];
  /** What was asked for when it was given. */
  askedScopes?: readonly string[];
  /** What its upstream wants for calls that it refused; asked for at the next consent. */
  wantedScopes?: readonly string[];
  /** The provider's own id of the account, when it told us one. */
  subject?: string;
  /** What the provider calls it, for people to read. */
  subjectName?: string;
  oauthConfigId?: string;
  createdAt: number;
  updatedAt: number;
  lastRefreshedAt?: number;
}

/** How a token of the gateway's own is obtained. */
export type OwnGrant = Exclude<GrantType, "authorization_code">;

/** What a provider or a person gave us, on its way into the store. `expiresAt` in milliseconds since 1970. */
export type NewSecret =
  | {
      kind: "oauth";
      accessToken: Hidden;
      refreshToken?: Hidden;
      expiresAt?: number;
      scopes?: readonly string[];
      askedScopes?: readonly string[];
      /** Set: the tokens are bound to this key (RFC 9449), as `ProofKey` gave it. */
      proofKey?: Hidden;
      subject?: string;
      subjectName?: string;
      oauthConfigId: string;
      /** Set: obtained by ourselves, and again in the same way. */
      grant?: OwnGrant;
      /** Whose token it is. A refresh token is never sent to another issuer (MCP authorization, server binding). */
      issuer?: string;
    }
  | { kind: "headers"; headers: Readonly<Record<string, Hidden>> };

export type NeedsUserReason =
  | "missing"
  | "needs_reauth"
  | "needs_update"
  | "orphaned"
  /** Where callers' own tokens are exchanged (caller-tokens.ts): there is none, or the provider does not give one for it. */
  | "caller_token_required"
  | "token_exchange_refused"
  | "interaction_required";

/** What opening a credential comes to. Needing the user is an answer, not an error. */
export type Opened =
  | {
      outcome: "ready";
      credential: Credential;
      /** Sets the outgoing header(s) that carry the secret. Names are lower case. */
      authorize(headers: Record<string, string>): void;
    }
  | { outcome: "needs_user"; reason: NeedsUserReason }
  | {
      /** The provider does not answer and the old token is dead: again later, the user cannot help. */
      outcome: "unavailable";
      retryAfterMs?: number;
      /** The provider refuses the gateway itself: only an administrator can help. */
      reason?: "client_refused";
    };

/** The key of a binding in caches and on the change topic `credential`. */
export function bindingKey(owner: Owner, upstreamId: string, account: string): string {
  return `${owner.mode}:${owner.id}:${upstreamId}:${account}`;
}

/** Whether its upstream waits for a consent to more than was asked for (MCP "Step-Up Authorization Flow"). */
export function waitsForScopes({ askedScopes, scopes = [], wantedScopes = [] }: Credential): boolean {
  const asked = askedScopes ?? scopes;
  return wantedScopes.some((scope) => !asked.includes(scope));
}
