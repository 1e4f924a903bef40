import { type Owner, Problem } from "../base/index.ts";
import type { Route } from "../http/index.ts";
import { callbackRoutes } from "./callback.ts";
import { flowRoutes } from "./flow-routes.ts";
import { consentHeaderRoutes } from "./header-consent.ts";
import { headerRoutes } from "./header-routes.ts";
import { linkPageRoutes } from "./link-page.ts";
import { type LinkOptions, linkPath, startLink } from "./links.ts";
import { type ConnectParts, kindOf } from "./parts.ts";
import { revokeAllRoute } from "./revoke-all.ts";
import { sessionRoutes } from "./session-routes.ts";

/** A pending connect link. `expiresAt` in milliseconds since 1970. */
export interface Started {
  flowId: string;
  /** A page of ours; holds nothing secret. */
  url: string;
  expiresAt: number;
  kind: "oauth" | "headers";
}

/** Lets a person connect an account of an upstream. See the folder's door. */
export class Connect {
  readonly #parts: ConnectParts;

  constructor(parts: ConnectParts) {
    this.#parts = parts;
  }

  /**
   * The link behind which `owner` connects an account. A pending one is handed out while five minutes remain, unless
   * `replace`. Whether the owner may use the upstream is the caller's question; `by` is who asked, for the log.
   */
  async start(
    owner: Owner,
    upstream: { id: string; name: string },
    account = "",
    options: Pick<LinkOptions, "replace" | "by" | "unless"> = {},
  ): Promise<Started> {
    const kind = kindOf(this.#parts.upstreams.find(upstream.id));
    if (kind === undefined) {
      throw new Problem(
        "invalid",
        "unsupported",
        `${upstream.name} does not take accounts of individual people.`,
      );
    }
    const link = await startLink(this.#parts, { owner, upstreamId: upstream.id, account }, options);
    const url = new URL(linkPath(link.id, kind), this.#parts.settings.baseUrl).href;
    return { flowId: link.id, url, expiresAt: link.expiresAt, kind };
  }

  routes(): Route[] {
    return [
      revokeAllRoute(this.#parts),
      ...sessionRoutes(this.#parts, this),
      ...linkPageRoutes(this.#parts),
      ...flowRoutes(this.#parts),
      ...callbackRoutes(this.#parts),
      ...headerRoutes(this.#parts),
      ...consentHeaderRoutes(this.#parts),
    ];
  }
}
