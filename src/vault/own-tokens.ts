import { Hidden, type Owner, Problem } from "../base/index.ts";
import { type GrantType, obtainsOwnToken } from "../upstreams/index.ts";
import type { OwnGrant } from "./credential.ts";
import type { VaultParts } from "./parts.ts";
import { putCredential } from "./put.ts";

/** What opening needs of an upstream. */
export interface OpenedUpstream {
  id: string;
  /** All but `authorization_code`: the shared credential is one that we obtain ourselves. */
  oauth?: { grantType?: GrantType };
}

/** After a failure to find the authorization server, so that waiting calls do not ask it one by one. */
const PAUSE_MS = 5_000;

/**
 * Tokens that the gateway obtains for itself (RFC 6749 §4.4, RFC 7523 §2.1). The row is there before the token, empty and expired, so that
 * the first token is obtained like every later one: by one lease holder on all replicas, and stored before it is used.
 */
export class OwnTokens {
  readonly #parts: VaultParts;
  readonly #pausedUntil = new Map<string, number>();

  constructor(parts: VaultParts) {
    this.#parts = parts;
  }

  /** Whether a credential that is missing is one of these. */
  concerns(owner: Owner, upstream: OpenedUpstream): boolean {
    return owner.mode === "shared" && obtainsOwnToken(upstream);
  }

  /** Makes the row. A number: the authorization server cannot be found now; milliseconds until it may be tried again. */
  async begin(owner: Owner, { id: upstreamId, oauth }: OpenedUpstream): Promise<number | undefined> {
    const paused = (this.#pausedUntil.get(upstreamId) ?? 0) - this.#now();
    if (paused > 0) return paused;
    try {
      const { configId, issuer } = await this.#parts.oauth.prepareOwn!(upstreamId);
      const accessToken = new Hidden("");
      const grant = oauth?.grantType as OwnGrant;
      const secret = {
        kind: "oauth" as const,
        accessToken,
        expiresAt: this.#now(),
        oauthConfigId: configId,
        issuer,
        grant,
      };
      const given = { owner, upstreamId, account: "", secret, expectGeneration: 0 };
      // Nothing stored: another replica was first, and its row serves as well.
      await this.#parts.database.transaction((tx) => putCredential(this.#parts, tx, given));
      this.#pausedUntil.delete(upstreamId);
      return undefined;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#parts.world.log.warn("credential.own_token_postponed", {
        upstream: upstreamId,
        code: error.code,
      });
      this.#pausedUntil.set(upstreamId, this.#now() + PAUSE_MS);
      return PAUSE_MS;
    }
  }

  #now(): number {
    return this.#parts.world.now().getTime();
  }
}
