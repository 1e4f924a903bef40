import { Problem, type ProblemKind } from "../base/index.ts";
import {
  type AdministrationParts,
  type Asked,
  administratorOwner,
  auditUpstream,
  whenMoved,
} from "./administration-parts.ts";
import {
  getByConfig,
  isConnected,
  pending,
  readTools,
  refuseDisabled,
  refuseExchanged,
  success,
} from "./pending.ts";
import { verifySample } from "./sample-headers.ts";
import { obtainsOwnToken, type Upstream } from "./upstream.ts";

/** The credential that an administrator gives: everybody's of an `oauth` upstream, or the one that lists tools. */
export class Consents {
  readonly #parts: AdministrationParts;

  constructor(parts: AdministrationParts) {
    this.#parts = parts;
  }

  /**
   * The administrator consents again; what is stored serves until the new one is. With client credentials nobody
   * consents: a token is obtained anew, now.
   */
  async reauthorize(id: string, asked: Asked) {
    const upstream = this.#parts.upstreams.get(id);
    refuseDisabled(upstream);
    if (!upstream.oauth || upstream.exchanged)
      throw unsupported("There is no account to authorize again here. Use refresh-tools.");
    if (!obtainsOwnToken(upstream)) {
      await this.#lookAgain(upstream, asked);
      return pending(this.#parts, upstream, { replace: true });
    }
    await this.#parts.upstreams.whileUnchanged(upstream, async (tx) => {
      await this.#parts.dropCredential(tx, upstream);
      await this.#parts.upstreams.recordRegained(tx, upstream.id);
      await auditUpstream(this.#parts, tx, "upstream.reauthorized", asked, upstream);
    });
    return readTools(this.#parts, upstream, "A new token was obtained and the tool list was read.");
  }

  /**
   * A new registration at the provider that the upstream names now, in place of the one there is, which is given up; what
   * was given for that one must be given again. Throws 409 `client_given` for a client that was registered by hand.
   */
  async reregister(id: string, asked: Asked) {
    const upstream = this.#parts.upstreams.get(id);
    refuseDisabled(upstream);
    if (!upstream.oauth) throw unsupported("The gateway is no OAuth client of this server.");
    await this.#parts.oauth.reregister(upstream, async (tx, issuer) => {
      await this.#parts.demandReauth(tx, upstream.id, "client_reregistered");
      await auditUpstream(this.#parts, tx, "upstream.reregistered", asked, upstream, { issuer });
    });
    return pending(this.#parts, upstream, { replace: true });
  }

  /** Whether the upstream still names the authorization server that is recorded; what cannot be asked now stays as it is. */
  async #lookAgain(upstream: Upstream, asked: Asked): Promise<void> {
    try {
      await this.#parts.oauth.renew(upstream, whenMoved(this.#parts, upstream, asked));
    } catch (error) {
      const isLater = error instanceof Problem && unanswered.has(error.kind);
      if (!isLater || !(await this.#parts.oauth.recorded(upstream))) throw error;
    }
  }

  /** A link behind which the administrator gives the credential, with what it will ask for. */
  async initiateVerification(id: string) {
    const upstream = this.#parts.upstreams.get(id);
    refuseDisabled(upstream);
    refuseExchanged(upstream);
    const asksNobody = obtainsOwnToken(upstream) || !(upstream.perUser || upstream.shared);
    if (asksNobody) throw unsupported("Nobody has to be asked for this server's tools. Use refresh-tools.");
    return pending(this.#parts, upstream);
  }

  /** Tries header values on the live upstream and keeps them to list its tools with; 422 and nothing stored otherwise. */
  async verifyHeaders(id: string, given: Readonly<Record<string, string>>, asked: Asked) {
    const { upstreams, verifyHeaders, keepSample } = this.#parts;
    const upstream = upstreams.get(id);
    refuseDisabled(upstream);
    if (upstream.authType !== "per_user_headers")
      throw unsupported("This server asks no person for header values. Use initiate-verification.");
    const { headers, tools } = await verifySample(verifyHeaders, upstream, given, "headers");
    await upstreams.whileUnchanged(upstream, async (tx) => {
      await keepSample(tx, upstream, headers);
      await auditUpstream(this.#parts, tx, "upstream.verified", asked, upstream, {
        headers: Object.keys(headers),
      });
    });
    await upstreams.recordTools(upstream.id, tools);
    const message = "The server accepted the values; they are kept to read its tool list with.";
    return { ...success(message, upstream), tools: tools.length };
  }

  /** The administrator comes back from connecting the account. */
  async complete(configId: string) {
    const upstream = getByConfig(this.#parts, configId);
    refuseDisabled(upstream);
    if (!(await isConnected(this.#parts, upstream))) throw accountMissing();
    return readTools(this.#parts, upstream, "The account is connected and the tool list was read.");
  }

  async status(configId: string) {
    const upstream = getByConfig(this.#parts, configId);
    const status = await this.#parts.credentialStatus(administratorOwner(upstream), upstream.id);
    const recorded = await this.#parts.oauth.recorded(upstream);
    return {
      id: configId,
      mcp_client_id: upstream.id,
      status: status === undefined ? "pending" : status === "active" ? "authorized" : status,
      redirect_uri: upstream.redirectUri,
      ...(recorded
        ? { issuer: recorded.issuer, client_id: recorded.client.client_id, scopes: recorded.scopes }
        : {}),
    };
  }

  /** The same with what discovery and registration came to; secrets never. */
  async describe(configId: string) {
    const upstream = getByConfig(this.#parts, configId);
    const recorded = await this.#parts.oauth.recorded(upstream);
    const described = { ...(await this.status(configId)), auth_type: upstream.authType };
    const grant_type = upstream.oauth?.grantType ?? "authorization_code";
    if (!recorded) return { ...described, grant_type };
    const { server, authMethod, resource } = recorded;
    return {
      ...described,
      grant_type,
      authorize_url: server.authorization_endpoint,
      token_url: server.token_endpoint,
      revocation_url: server.revocation_endpoint,
      token_endpoint_auth_method: authMethod,
      resource,
    };
  }

  /** Deletes the credential and its pending links, and tells the provider. The registration stays. */
  async disconnect(configId: string, asked: Asked): Promise<void> {
    const upstream = getByConfig(this.#parts, configId);
    await this.#parts.upstreams.whileUnchanged(upstream, async (tx) => {
      await this.#parts.dropCredential(tx, upstream);
      await auditUpstream(this.#parts, tx, "upstream.disconnected", asked, upstream);
    });
  }
}

/** What comes of an upstream or an authorization server that does not answer, or not well. */
const unanswered: ReadonlySet<ProblemKind> = new Set(["upstream", "upstream_timeout", "unprocessable"]);

function unsupported(message: string): Problem {
  return new Problem("invalid", "unsupported", message);
}

export function accountMissing(): Problem {
  return new Problem(
    "conflict",
    "oauth_pending",
    "No account is connected to read the tool list with. POST to …/reconnect and open the authorize_url it returns.",
  );
}
