import type { VirtualMcp } from "../access/index.ts";
import { type KeyedHash, type Log, type Owner, Problem, type Vouched } from "../base/index.ts";
import type { HeaderReader } from "../http/index.ts";
import { conflictingCredentials, presentedCredential } from "../identity/index.ts";
import { type GrantPrincipal, serves } from "../issuer/index.ts";
import { callerOfJwt } from "./caller-of-jwt.ts";
import type { McpParts } from "./parts.ts";

/** Who calls, proved anew with every request. */
export interface Caller {
  owner: Owner;
  /** The key whose rules hold. */
  virtualKeyId?: string;
  /** For audit lines. */
  actor: string;
  /** The grant, key or anonymous session behind the request: what session ids and `requestState`s are bound to. */
  binding: string;
  /** The virtual MCP whose address was used, if the caller may use it. */
  virtualMcp?: VirtualMcp;
  /** When the credential stops counting by itself, milliseconds since 1970. */
  until?: number;
  /** Who vouched for the caller and with what, where that was a JWT. */
  vouched?: Vouched;
}

/** Where a request comes from, and its log; looked at only when it guesses. */
type From = { readonly remote: string; readonly log: Log };

const SESSION_HEADER = "x-bf-mcp-session-id";
const MIN_SESSION_VALUE = 32;
const MAX_SESSION_VALUE = 512;

/** Proves callers of `/mcp` (contract section 1). Cookies, query and body never count (TK-18). */
export class Callers {
  readonly #parts: McpParts;
  readonly #ofGrants = new WeakMap<GrantPrincipal, Caller>();

  constructor(parts: McpParts) {
    this.#parts = parts;
  }

  /** Who presents a token that was proved before, without waiting; undefined: `prove` has to look. Throws 400 as that does. */
  known(headers: HeaderReader, slug: string | undefined): Caller | undefined {
    if (slug !== undefined || headers.get(SESSION_HEADER) !== null) return undefined;
    const presented = presentedCredential(headers);
    if (presented.kind === "jwt") {
      const identity = this.#parts.jwts?.known(presented.value, headers.connection);
      return identity && callerOfJwt(identity, presented.value);
    }
    const grant =
      presented.kind === "token" ? this.#parts.issuer.known(presented.value, headers.connection) : undefined;
    return grant && serves(grant.resource, slug) ? this.#callerOf(grant) : undefined;
  }

  /** Throws 400 `conflicting_credentials`, 401 with the challenge, 429, or 503 when the store does not answer (ID-20). */
  async prove(headers: HeaderReader, slug: string | undefined, from: From): Promise<Caller> {
    try {
      const caller = await this.#prove(headers, slug, from);
      if (slug === undefined) return caller;
      return { ...caller, virtualMcp: await this.#parts.virtualMcps.serving(slug, caller) };
    } catch (cause) {
      if (cause instanceof Problem) throw cause;
      const message = "The credential could not be checked just now. Try again in a moment.";
      throw new Problem("unavailable", "unavailable", message, { cause, retryAfter: 1 });
    }
  }

  /**
   * The caller behind a stream that is open, looked at anew; undefined: it may not listen any more. Throws what the store
   * throws. Nothing here is a guess.
   */
  async again(headers: HeaderReader, slug: string | undefined): Promise<Caller | undefined> {
    try {
      const caller = await this.#prove(headers, slug, undefined);
      if (slug === undefined) return caller;
      const virtualMcp = await this.#parts.virtualMcps.serving(slug, caller);
      return virtualMcp && { ...caller, virtualMcp };
    } catch (error) {
      if (error instanceof Problem && error.status < 500) return undefined;
      throw error;
    }
  }

  async #prove(headers: HeaderReader, slug: string | undefined, from: From | undefined): Promise<Caller> {
    const presented = presentedCredential(headers);
    const session = headers.get(SESSION_HEADER);
    if (presented.kind !== "none" && session !== null) throw conflictingCredentials();
    switch (presented.kind) {
      case "none":
        return await this.#anonymous(session, slug);
      case "token":
        return await this.#byToken(presented.value, slug);
      case "virtual_key":
        return await this.#byKey(presented.value, slug, from);
      case "jwt":
        return await this.#byJwt(presented.value, slug, from);
      default:
        throw this.#challenge(slug, true);
    }
  }

  async #anonymous(value: string | null, slug: string | undefined): Promise<Caller> {
    if (value === null) throw this.#challenge(slug, false);
    const usable =
      value.length >= MIN_SESSION_VALUE && value.length <= MAX_SESSION_VALUE && !value.includes(",");
    if (this.#parts.settings.enforceAuthOnInference || !usable) throw this.#challenge(slug, true);
    const id = anonymousSessionId(this.#parts.hash, value);
    await this.#parts.anonymousSessions.used(id);
    return { owner: { mode: "session", id }, actor: `session:${id}`, binding: id };
  }

  async #byToken(token: string, slug: string | undefined): Promise<Caller> {
    const answer = await this.#parts.issuer.authenticate(token);
    if (!answer.ok || !serves(answer.grant.resource, slug)) throw this.#challenge(slug, true);
    return this.#callerOf(answer.grant);
  }

  #callerOf(grant: GrantPrincipal): Caller {
    const made = this.#ofGrants.get(grant);
    if (made) return made;
    const { owner, virtualKeyId, grantId, expiresAt } = grant;
    const name = `grant:${grantId}`;
    const caller = { owner, virtualKeyId, actor: name, binding: name, until: expiresAt };
    this.#ofGrants.set(grant, caller);
    return caller;
  }

  async #byKey(value: string, slug: string | undefined, from: From | undefined): Promise<Caller> {
    const answer = await this.#parts.virtualKeys.authenticate(value);
    if (!answer.ok) {
      // ID-12: one answer whatever is wrong with it, and not many of them.
      if (from) this.#parts.limits.take("guess", from.remote);
      throw this.#challenge(slug, true);
    }
    const { id, userId, expiresAt } = answer.key;
    // Contract section 1: a key that belongs to a user acts as that user, under its own rules.
    const owner: Owner = userId === undefined ? { mode: "vk", id } : { mode: "user", id: userId };
    const until = answer.endsAt ?? expiresAt;
    return { owner, virtualKeyId: id, actor: `vk:${id}`, binding: `vk:${id}`, until };
  }

  /** ID-20: what cannot be told now is thrown as 503; nothing that was refused counts as anything else. */
  async #byJwt(value: string, slug: string | undefined, from: From | undefined): Promise<Caller> {
    const proof = await this.#parts.jwts?.prove(value);
    const caller = proof?.ok ? callerOfJwt(proof.identity, value) : undefined;
    if (caller) return caller;
    const reason = !proof || proof.ok ? "not_for_mcp" : proof.reason;
    from?.log.info("jwt.refused", { reason, issuer: proof?.ok === false ? proof.issuer : undefined });
    throw this.#challenge(slug, true);
  }

  /** RFC 9728 §5.1, RFC 6750 §3: `error` only where a credential came. */
  #challenge(slug: string | undefined, presented: boolean): Problem {
    const path = slug === undefined ? "mcp" : `mcp/${encodeURIComponent(slug)}`;
    const metadata = `${this.#parts.settings.baseUrl.origin}/.well-known/oauth-protected-resource/${path}`;
    const error = presented ? ', error="invalid_token"' : "";
    return new Problem(
      "unauthenticated",
      presented ? "invalid_credential" : "authentication_required",
      presented
        ? "This credential is not valid here, or not any more. Sign in again or send a current one."
        : "Send an access token or a virtual key in the Authorization header.",
      { headers: { "www-authenticate": `Bearer resource_metadata="${metadata}"${error}` } },
    );
  }
}

/** Nobody signed in and no grant: the session is a value of the client's own. */
export function isAnonymous({ owner, binding }: Pick<Caller, "owner" | "binding">): boolean {
  return owner.mode === "session" && binding === owner.id;
}

/** The owner id an `x-bf-mcp-session-id` value stands for: opaque, and the value is not in it. */
export function anonymousSessionId(hash: KeyedHash, value: string): string {
  return `anon_${hash.of("anonymous_session", value)}`;
}
