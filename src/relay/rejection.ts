import type { Credential } from "../vault/index.ts";
import type { Wants } from "./attempt.ts";
import type { Relayed } from "./call.ts";
import type { RelayUpstream, RelayVault } from "./parts.ts";

/** A server that does not take the nonce it gave is not asked for ever. */
const MOST_NONCES = 2;
/** How a token is obtained where nothing else is said. */
const CONSENT = "authorization_code";

/**
 * What becomes of a call whose credential was rejected, for one call. Undefined: it is tried again, with what changed; else
 * its answer.
 */
export class Rejections {
  readonly #vault: Pick<RelayVault, "markRejected" | "wantScopes">;
  readonly #upstream: RelayUpstream;
  /** The generation that the upstream refused; another one is opened then. */
  notGeneration: number | undefined;
  #nonces = 0;

  constructor(vault: Pick<RelayVault, "markRejected" | "wantScopes">, upstream: RelayUpstream) {
    this.#vault = vault;
    this.#upstream = upstream;
  }

  async after(credential: Credential, wants: Wants | undefined): Promise<Relayed | undefined> {
    // RFC 9449 §9: the nonce came with the refusal, and nothing was done.
    if (wants === "nonce" && ++this.#nonces <= MOST_NONCES) return undefined;
    if (wants !== undefined && wants !== "nonce") return this.#stepUp(credential, wants.scopes);
    await this.#vault.markRejected(credential);
    // UP-18: one fresh credential is worth a try, a second rejection is the answer.
    if (this.notGeneration !== undefined) return { outcome: "needs_user", reason: "needs_reauth" };
    this.notGeneration = credential.generation;
    return undefined;
  }

  /** UP-21: more is asked for by a person who agrees, never beyond what an administrator wrote down, and not twice. */
  async #stepUp(credential: Credential, scopes: readonly string[]): Promise<Relayed | undefined> {
    const { oauth } = this.#upstream;
    const isFixed = (oauth?.scopes.length ?? 0) > 0 || (oauth?.grantType ?? CONSENT) !== CONSENT;
    const isAsked = !isFixed && credential.kind === "oauth";
    const wanted = isAsked ? await this.#vault.wantScopes?.(credential, scopes) : "exhausted";
    if (wanted === "changed" && this.notGeneration === undefined) {
      this.notGeneration = credential.generation;
      return undefined;
    }
    if (wanted === "changed") return { outcome: "failed", code: "credential_unavailable", retryable: true };
    return wanted === "asked"
      ? { outcome: "needs_user", reason: "insufficient_scope" }
      : { outcome: "failed", code: "upstream_refused", retryable: false };
  }
}
