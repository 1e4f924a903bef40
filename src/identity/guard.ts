import { type Hidden, type KeyedHash, type Log, Problem, type Settings } from "../base/index.ts";
import { type Route, requireSameOrigin } from "../http/index.ts";
import type { ApiTokens } from "./api-tokens.ts";
import { conflictingCredentials, presentedCredential } from "./credentials.ts";
import type { JwtIdentity, JwtProof } from "./jwt-identities.ts";
import { isAdmin, type Principal } from "./principal.ts";
import { allows, insufficientScope } from "./scopes.ts";
import type { Sessions } from "./sessions.ts";

/** What the guard reads of a route. */
export type Guarded = Pick<Route, "access" | "csrf" | "method" | "tag">;

/** Finds the virtual key a value belongs to; handed over in app.ts, because keys live in access/. */
export type KeyResolver = (
  value: string,
) => Promise<{ virtualKeyId: string; name: string; userId?: string } | undefined>;

export interface GuardParts {
  sessions: Sessions;
  tokens: ApiTokens;
  settings: Settings;
  hash: KeyedHash;
  adminToken?: Hidden;
  resolveKey: KeyResolver;
  /** Absent: no JWT counts. Throws 503 where it cannot be told (ID-20). */
  proveJwt?(token: string): Promise<JwtProof>;
}

/**
 * Proves who calls a management route. Exactly one credential counts; an invalid one never falls through to a weaker
 * one (attack rule R13).
 */
export class Guard {
  readonly #parts: GuardParts;
  readonly #adminTokenHash: string | undefined;

  constructor(parts: GuardParts) {
    this.#parts = parts;
    this.#adminTokenHash = parts.adminToken && parts.hash.of("admin_token", parts.adminToken.reveal());
  }

  /** The principal a route's `access` asks for; throws 401 or 403. */
  async authenticate(request: Request, route: Guarded, log?: Log): Promise<Principal> {
    const principal = await this.#principal(request, log);
    if (!principal) throw unauthenticated();
    if (principal.kind === "user" && route.csrf === "session")
      requireSameOrigin(request, this.#parts.settings);
    if (route.access === "admin" && !isAdmin(principal)) {
      throw new Problem(
        "forbidden",
        "administrator_required",
        "Only an administrator may do this. Ask one, or sign in as one.",
      );
    }
    if (route.access === "signed_in" && principal.kind !== "user") {
      throw new Problem("forbidden", "sign_in_required", "Sign in with your own account to do this.");
    }
    if (principal.kind === "api_token" && !allows(principal.scopes, route)) throw insufficientScope(route);
    return principal;
  }

  async #principal(request: Request, log: Log | undefined): Promise<Principal | undefined> {
    const presented = presentedCredential(request.headers);
    const signedIn = await this.#parts.sessions.of(request);
    if (presented.kind !== "none" && signedIn) throw conflictingCredentials();
    if (presented.kind === "none") {
      return (
        signedIn && {
          kind: "user",
          userId: signedIn.user.id,
          ...pick(signedIn.user),
          sessionId: signedIn.sessionId,
        }
      );
    }
    if (this.#isAdminToken(presented.value)) return { kind: "admin_token" };
    if (presented.kind === "token") return this.#token(presented.value);
    if (presented.kind === "jwt") return this.#jwt(presented.value, log);
    if (presented.kind !== "virtual_key") return undefined;
    const key = await this.#parts.resolveKey(presented.value);
    return key && { kind: "virtual_key", ...key };
  }

  /** A token of `/mcp` has the same shape and is not known here: 401 (contract section 1). */
  async #token(value: string): Promise<Principal | undefined> {
    const token = await this.#parts.tokens.authenticate(value);
    if (!token) return undefined;
    const { id: tokenId, name, role, scopes, userId } = token;
    return { kind: "api_token", tokenId, name, role, scopes, userId };
  }

  async #jwt(value: string, log: Log | undefined): Promise<Principal | undefined> {
    const proof = await this.#parts.proveJwt?.(value).catch((cause: unknown) => {
      throw cause instanceof Problem ? cause : uncheckable(cause);
    });
    if (proof?.ok) return principalOf(proof.identity);
    log?.info("jwt.refused", { reason: proof?.reason, issuer: proof?.issuer });
    return undefined;
  }

  #isAdminToken(value: string): boolean {
    return (
      this.#adminTokenHash !== undefined && this.#parts.hash.of("admin_token", value) === this.#adminTokenHash
    );
  }
}

function pick(user: { email: string; name: string; role: "admin" | "member" }) {
  return { email: user.email, name: user.name, role: user.role };
}

/** Contract section 9: a person is a member here whatever their account is, because only the role claim makes an administrator. */
function principalOf({ kind, virtualKeyId, userId, name, issuer, subject }: JwtIdentity): Principal {
  if (kind === "virtual_key")
    return { kind, virtualKeyId: virtualKeyId!, name, userId, jwt: { issuer, subject } };
  return { kind: "jwt", role: kind === "admin" ? "admin" : "member", name, userId, issuer, subject };
}

/** ID-20: a store that does not answer says nothing about the credential. */
function uncheckable(cause: unknown): Problem {
  const message = "The credential could not be checked just now. Try again in a moment.";
  return new Problem("unavailable", "unavailable", message, { cause, retryAfter: 1 });
}

function unauthenticated(): Problem {
  return new Problem(
    "unauthenticated",
    "authentication_required",
    "Sign in, or send a valid administrator token or virtual key as a bearer token.",
    { headers: { "www-authenticate": 'Bearer realm="postern"' } },
  );
}
