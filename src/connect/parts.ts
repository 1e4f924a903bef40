import type { Audit } from "../audit/index.ts";
import type { Hidden, KeyedHash, Owner, Settings, World } from "../base/index.ts";
import type { Database, Flows } from "../db/index.ts";
import type { RateLimits } from "../http/index.ts";
import type { Principal, Sessions } from "../identity/index.ts";
import {
  obtainsOwnToken,
  type Upstream,
  type UpstreamAuthorization,
  type Upstreams,
} from "../upstreams/index.ts";
import type { Vault } from "../vault/index.ts";

/**
 * The issuer's check of a consent flow (its cookie, the approval, access; contract section 3); throws its 401 or 403.
 * `returnTo`: the services page, a path of ours. `display`: the chosen identity, in words. `client`: who asks.
 */
export type ConsentGate = (
  request: Request,
  flowId: string,
  upstreamId: string,
) => Promise<{
  flowId: string;
  identity: { owner: Owner; virtualKeyId?: string };
  returnTo: string;
  display: string;
  client: { name: string; host: string };
}>;

export interface ConnectParts {
  world: World;
  database: Database;
  flows: Flows;
  hash: KeyedHash;
  settings: Settings;
  audit: Audit;
  rateLimits: RateLimits;
  sessions: Sessions;
  vault: Vault;
  upstreams: Pick<Upstreams, "find" | "all" | "recordFailure">;
  oauth: {
    prepare(upstream: Upstream): Promise<UpstreamAuthorization>;
    /** The same for somebody who leaves for it: whether it is still the one. Throws 409 `issuer_changed`. */
    current(upstream: Upstream): Promise<UpstreamAuthorization>;
    recorded(upstream: Upstream): Promise<UpstreamAuthorization | undefined>;
  };
  virtualKeys: {
    authenticate(value: string): Promise<{ ok: true; key: { id: string } } | { ok: false; reason: string }>;
    find(id: string): Promise<{ id: string; name: string } | undefined>;
  };
  /** The ids of the upstreams that a caller may use. */
  visible(caller: Principal): Promise<ReadonlySet<string>>;
  /** The same for an identity that is looked after by who calls. */
  usableBy(owner: Owner): Promise<ReadonlySet<string>>;
  /** Tries header values on the live upstream (relay/). Throws 422 `headers_refused`, or 502 and 504. */
  verifyHeaders(upstream: Upstream, headers: Readonly<Record<string, Hidden>>): Promise<unknown>;
  consentGate: ConsentGate;
  /** The keyed hash of the cookie that the browser of this session grant holds (purpose `grant_cookie`). */
  grantBrowserHash(grantId: string): Promise<string | undefined>;
  /** The owner id that a `x-bf-mcp-session-id` value stands for (mcp/). */
  anonymousSessionId(value: string): string;
}

/** Upstreams whose credentials people bring by OAuth. */
export function isPerUserOAuth(upstream: Upstream | undefined): upstream is Upstream {
  return upstream?.authType === "per_user_oauth";
}

/** Upstreams whose one credential an administrator connects for everybody. */
export function isConsentedOnce(upstream: Upstream | undefined): boolean {
  return upstream?.authType === "oauth" && !obtainsOwnToken(upstream);
}

/** Upstreams for which people submit header values. */
export function isPerUserHeaders(upstream: Upstream | undefined): upstream is Upstream {
  return upstream?.authType === "per_user_headers";
}

/** How people connect an upstream; for `oauth` an administrator, for everybody. Undefined when nobody does. */
export function kindOf(upstream: Upstream | undefined): "oauth" | "headers" | undefined {
  if (isPerUserOAuth(upstream) || isConsentedOnce(upstream)) return "oauth";
  return isPerUserHeaders(upstream) ? "headers" : undefined;
}
