import { newSecret, type Owner, Problem } from "../base/index.ts";
import type { Route } from "../http/index.ts";
import { actorOf, type Principal } from "../identity/index.ts";
import {
  accountRoutes,
  checkLabel,
  getUsable,
  type NewAccount,
  ownIdentity,
  startAccount,
} from "./account-routes.ts";
import { callbackRoutes } from "./callback.ts";
import { codeRoutes } from "./code-routes.ts";
import { flowRoutes } from "./flow-routes.ts";
import { consentHeaderRoutes } from "./header-consent.ts";
import { headerRoutes } from "./header-routes.ts";
import { linkPageRoutes } from "./link-page.ts";
import { tokenHash } from "./link-token.ts";
import { type LinkOptions, linkPath, startLink } from "./links.ts";
import { serviceAccountRoutes } from "./machine-account-routes.ts";
import { type ConnectParts, isConsentedOnce, kindOf } from "./parts.ts";
import { pasteRoutes } from "./paste-address.ts";
import { revokeAllRoute } from "./revoke-all.ts";
import { deleteSession, getSession, type Reauth, sessionRoutes, startReauth } from "./session-routes.ts";
import { swapRoutes } from "./swap.ts";

/** A pending connect link. `expiresAt` in milliseconds since 1970. */
export interface Started {
  flowId: string;
  /** A page of ours; holds nothing secret, but a one-time token where one was asked for. */
  url: string;
  expiresAt: number;
  kind: "oauth" | "headers";
}

export interface StartOptions extends Pick<LinkOptions, "replace" | "by" | "unless" | "returnTo"> {
  /** Puts a one-time token into the address; only with `replace`, for a pending link has none or another. */
  withToken?: boolean;
}

/** Lets a person connect an account of an upstream. See the folder's door. */
export class Connect {
  readonly #parts: ConnectParts;

  constructor(parts: ConnectParts) {
    this.#parts = parts;
  }

  /**
   * The link behind which `owner` connects an account, by its label; without one the default. A pending one is handed out while five minutes remain, unless
   * `replace`. Whether the owner may use the upstream is the caller's question; `by` is who asked, for the log.
   */
  async start(
    owner: Owner,
    upstream: { id: string; name: string },
    account: string | undefined = undefined,
    options: StartOptions = {},
  ): Promise<Started> {
    const kind = kindOf(this.#parts.upstreams.find(upstream.id));
    // A shared credential is nobody's own, and nobody's own is shared.
    const isShared = isConsentedOnce(this.#parts.upstreams.find(upstream.id));
    if (kind === undefined || isShared !== (owner.mode === "shared")) {
      throw new Problem(
        "invalid",
        "unsupported",
        `${upstream.name} does not take accounts of individual people.`,
      );
    }
    const place = { owner, upstreamId: upstream.id };
    if (account) await checkLabel(this.#parts, place, account);
    const label =
      account ?? (await this.#parts.vault.defaultAccount(this.#parts.database.db, owner, upstream.id));
    const token = options.withToken ? newSecret(this.#parts.world) : undefined;
    const link = await startLink(
      this.#parts,
      { ...place, account: label ?? "" },
      { ...options, tokenHash: token && tokenHash(this.#parts, token) },
    );
    const fragment = token === undefined ? "" : `#t=${token}`;
    const url = new URL(linkPath(link.id, kind) + fragment, this.#parts.settings.baseUrl).href;
    return { flowId: link.id, url, expiresAt: link.expiresAt, kind };
  }

  /** The same as the route that connects an account for oneself. `upstreamId`: one that the caller may use. Throws 404, 409. */
  async connectOwn(
    caller: Principal,
    { upstreamId, ...rest }: Pick<NewAccount, "account" | "requestId" | "returnTo"> & { upstreamId: string },
  ): Promise<Started> {
    const owner = ownIdentity(caller);
    const upstream = getUsable(this.#parts, upstreamId, await this.#parts.visible(caller));
    return startAccount(this.#parts, this, { ...rest, owner, upstream, by: actorOf(caller) });
  }

  /** The same as the route that re-authenticates. Throws 403, 404. */
  reauth(request: Reauth): Promise<Started> {
    return startReauth(this.#parts, this, request);
  }

  /** The same as the route that deletes a row. Throws 404. */
  async disconnect(id: string, caller: Principal, requestId: string): Promise<void> {
    const row = await getSession(this.#parts, id, caller);
    await deleteSession(this.#parts, row, caller, requestId);
  }

  routes(): Route[] {
    return [
      revokeAllRoute(this.#parts),
      ...sessionRoutes(this.#parts, this),
      ...accountRoutes(this.#parts, this),
      ...serviceAccountRoutes(this.#parts, this),
      ...linkPageRoutes(this.#parts),
      ...flowRoutes(this.#parts),
      ...callbackRoutes(this.#parts),
      ...codeRoutes(this.#parts),
      ...pasteRoutes(this.#parts),
      ...swapRoutes(this.#parts),
      ...headerRoutes(this.#parts),
      ...consentHeaderRoutes(this.#parts),
    ];
  }
}
