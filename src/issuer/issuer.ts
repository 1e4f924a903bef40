import type { Owner } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import type { Route } from "../http/index.ts";
import type { Principal } from "../identity/index.ts";
import { authorizeRoute } from "./authorize.ts";
import { Clients } from "./clients.ts";
import { codePageRoute } from "./code-page.ts";
import { type ConsentPass, consentGate } from "./consent-gate.ts";
import { consentRoutes } from "./consent-routes.ts";
import { deviceAuthorizationRoute } from "./device-authorization.ts";
import { deviceRoutes } from "./device-routes.ts";
import { type Authenticated, GrantCache, type GrantPrincipal } from "./grant-cache.ts";
import { grantRoutes, grantsOfPerson, type OwnGrant, revokeGrant } from "./grant-routes.ts";
import { Grants } from "./grants.ts";
import { endUntrusted } from "./machine-grants.ts";
import { metadataRoutes } from "./metadata.ts";
import type { IssuerParts } from "./parts.ts";
import { GRACE_MS } from "./refresh-grant.ts";
import { registrationRoute } from "./registration.ts";
import { revokeAllRoute } from "./revoke-all.ts";
import { staticClientRoutes } from "./static-clients.ts";
import { sweepIssued } from "./sweep.ts";
import { tokenRoutes } from "./token-routes.ts";

/** The authorization server, assembled. */
export class Issuer {
  readonly routes: readonly Route[];
  readonly #parts: IssuerParts;
  readonly #cache: GrantCache;
  readonly #grants: Grants;

  constructor(parts: IssuerParts) {
    const clients = new Clients(parts);
    this.#parts = parts;
    this.#cache = new GrantCache(parts);
    this.#grants = new Grants(parts);
    this.routes = [
      ...metadataRoutes(parts),
      registrationRoute(parts),
      authorizeRoute(parts, clients),
      ...consentRoutes(parts, clients, this.#grants),
      deviceAuthorizationRoute(parts, clients),
      ...deviceRoutes(parts),
      codePageRoute(),
      ...tokenRoutes(parts, clients, this.#grants),
      revokeAllRoute(parts, this.#grants),
      ...grantRoutes(parts, this.#grants),
      ...staticClientRoutes(parts, this.#grants),
    ];
  }

  /** Who an access token (`pst_…`) speaks for. The hot path: no database when the token was seen before. */
  authenticate(token: string): Promise<Authenticated> {
    return this.#cache.authenticate(token);
  }

  /** The grant of a valid token that was seen before, without waiting; undefined: `authenticate` has to look. */
  known(token: string, connection?: object): GrantPrincipal | undefined {
    return this.#cache.known(token, connection);
  }

  /** Writes `last_used_at` of what was used since the last call; for jobs.ts and the stop. */
  flush(): Promise<void> {
    return this.#cache.flush();
  }

  /** For connect/: may this browser connect this upstream for this consent? Throws 401, 403 or 404 (contract section 3). */
  consentGate(request: Request, flowId: string, upstreamId: string): Promise<ConsentPass> {
    return consentGate(this.#parts, request, flowId, upstreamId);
  }

  /** The keyed hash of the cookie that the browser of a session grant holds: its flows are finished there (contract section 6). */
  async grantBrowserHash(grantId: string): Promise<string | undefined> {
    return (await this.#grants.find(this.#parts.database.db, grantId))?.browser_hash ?? undefined;
  }

  /** For a person's own page. */
  grantsOfPerson(userId: string): Promise<OwnGrant[]> {
    return grantsOfPerson(this.#parts, userId);
  }

  /** The same as the route that revokes one. Throws 404. */
  revokeGrant(grant: { id: string; caller: Principal; requestId: string }): Promise<void> {
    return revokeGrant(this.#parts, this.#grants, grant);
  }

  /** Ends every grant made with this key, of this identity or for this virtual MCP, and what hangs on them; inside the caller's transaction. */
  async revokeGrantsOf(
    tx: Tx,
    whose: { virtualKeyId: string } | { owner: Owner } | { slug: string },
    by: { actor: string; requestId?: string } = { actor: "system" },
  ): Promise<void> {
    await this.#grants.endAllOf(tx, whose, { event: "grant.revoked", ...by });
  }

  /** For the start: ends what rules and issuers gave that the configuration file does not have any more. */
  async endUntrusted(): Promise<void> {
    const { world, machines } = this.#parts;
    const ended = await endUntrusted(this.#parts, this.#grants, machines);
    if (ended > 0) world.log.info("grants.untrusted_ended", { grants: ended });
  }

  /** For jobs.ts, after db's own sweep: removes what ended or was never redeemed, with what hangs on it. */
  sweep(): Promise<void> {
    return sweepIssued(this.#parts, this.#grants, GRACE_MS);
  }
}
