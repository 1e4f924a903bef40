import type { Audit } from "../audit/index.ts";
import type { Owner, Settings } from "../base/index.ts";
import type { Database, Tx } from "../db/index.ts";
import { actorOf, type Principal } from "../identity/index.ts";
import type { DefinitionBody } from "./definition.ts";
import type { Moved, UpstreamOAuth } from "./oauth.ts";
import type { HeaderVerifier, Sample } from "./sample-headers.ts";
import type { ToolLists } from "./tool-lists.ts";
import { sharedOwner, type Upstream } from "./upstream.ts";
import type { Upstreams } from "./upstreams.ts";
import type { KeyConfigView } from "./view.ts";

/** Which virtual keys may use an upstream; access/ has them, app.ts hands this over. */
export interface KeyConfigs {
  read(upstreamIds: readonly string[]): Promise<ReadonlyMap<string, KeyConfigView[]>>;
  replace(tx: Tx, upstreamId: string, configs: NonNullable<DefinitionBody["vk_configs"]>): Promise<void>;
}

/** A page of ours where an administrator connects an account or submits values. `expiresAt` in milliseconds. */
export interface DiscoveryFlow {
  flowId: string;
  url: string;
  expiresAt: number;
}

export interface AdministrationParts {
  settings: Settings;
  database: Database;
  upstreams: Upstreams;
  oauth: UpstreamOAuth;
  tools: ToolLists;
  audit: Audit;
  keyConfigs: KeyConfigs;
  /** Ids of the upstreams that a caller who is no administrator may use. */
  visible(caller: Principal): Promise<ReadonlySet<string>>;
  /** A link for `administratorOwner`; `replace` ends the pending one. */
  startDiscoveryFlow(upstream: Upstream, options?: { replace?: boolean }): Promise<DiscoveryFlow>;
  verifyHeaders: HeaderVerifier;
  /** Keeps verified sample values as the credential that lists the tools, in the caller's transaction. */
  keepSample(tx: Tx, upstream: Upstream, headers: Sample["headers"]): Promise<void>;
  /** `undefined`: none. */
  credentialStatus(owner: Owner, upstreamId: string): Promise<string | undefined>;
  /** Deletes what `administratorOwner` has, its pending links too, and tells the provider. */
  dropCredential(tx: Tx, upstream: Upstream): Promise<void>;
  /** Everybody's credentials of an upstream must be given again. */
  demandReauth(tx: Tx, upstreamId: string, reason: string): Promise<void>;
}

/** Who asks, for the audit trail. */
export interface Asked {
  caller: Principal;
  requestId: string;
}

/** Whose credential lists the tools of a per-person upstream: an administrator's, for nothing else. */
export function discoveryOwner(upstream: { id: string }): Owner {
  return { mode: "discovery", id: upstream.id };
}

/** Whose credential an administrator gives: everybody's where it is shared, else the one that only lists tools. */
export function administratorOwner(upstream: Pick<Upstream, "id" | "shared">): Owner {
  return upstream.shared ? sharedOwner(upstream) : discoveryOwner(upstream);
}

export function auditUpstream(
  { audit }: Pick<AdministrationParts, "audit">,
  tx: Tx,
  event: string,
  { caller, requestId }: Asked,
  upstream: Upstream,
  detail = {},
): Promise<void> {
  return audit.append(tx, {
    event,
    actor: actorOf(caller),
    upstreamId: upstream.id,
    requestId,
    detail: { name: upstream.name, ...detail },
  });
}

/** Another authorization server took the place of the one before: what was given for that one must be given again (R9). */
export function whenMoved(
  parts: Pick<AdministrationParts, "audit" | "demandReauth">,
  upstream: Upstream,
  asked: Asked,
): Moved {
  return async (tx, issuers) => {
    await parts.demandReauth(tx, upstream.id, "issuer_changed");
    await auditUpstream(parts, tx, "upstream.authorization_server_changed", asked, upstream, issuers);
  };
}
