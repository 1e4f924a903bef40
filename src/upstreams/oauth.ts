import type { AuthorizationServer, Client, ClientAuth } from "oauth4webapi";
import { type Hidden, Problem, type Seal, type Settings, type World } from "../base/index.ts";
import type { Database, Db, Row, Tx } from "../db/index.ts";
import { findAuthorizationServer } from "./authorization-server.ts";
import { OAuthRecords, type RecordedOAuth, redirectUri } from "./oauth-records.ts";
import type { ProviderFacts } from "./profile.ts";
import { type Profiles, shippedProfiles } from "./profiles.ts";
import { findProtectedResource } from "./protected-resource.ts";
import { type AuthMethod, clientAuthentication, clientMetadata, register } from "./registration.ts";
import type { OAuthSettings, Upstream } from "./upstream.ts";

/** All that a round trip with an upstream's authorization server needs. */
export interface UpstreamAuthorization {
  configId: string;
  issuer: string;
  /** The endpoints recorded at discovery; nothing else is ever sent a code, a token or a secret. */
  server: AuthorizationServer;
  client: Client;
  clientAuth: ClientAuth;
  /** Of what `clientAuth` is made, for what must be done when nothing is recorded any more (`clientAuthentication`). */
  authMethod: AuthMethod;
  clientSecret?: Hidden;
  redirectUri: string;
  /** RFC 8707; goes into authorization, token and refresh requests. Absent: the administrator switched it off. */
  resource?: string;
  scopes: string[];
  /** What is particular about the provider; absent where nothing is known. */
  facts?: ProviderFacts;
}

/** What discovery needs to know of an upstream, stored already or not. */
export interface DiscoveryTarget {
  id: string;
  url: URL;
  headers: Readonly<Record<string, Hidden>>;
  oauth?: OAuthSettings;
}

export interface UpstreamOAuthParts {
  world: World;
  database: Database;
  seal: Seal;
  settings: Settings;
  /** Those that come with the gateway, unless given. */
  profiles?: Profiles;
}

/** `oauth_configs.metadata_json`. */
interface Metadata extends Record<string, unknown> {
  server: AuthorizationServer;
  authMethod: AuthMethod;
  secretExpiresAt?: number;
  /** The profile that the administrator named. */
  profile?: string;
}

/** How we are a client of each upstream's authorization server: found once, recorded, and then kept to. */
export class UpstreamOAuth {
  readonly #parts: UpstreamOAuthParts;
  readonly #records: OAuthRecords;
  readonly #profiles: Profiles;
  readonly #running = new Map<string, Promise<UpstreamAuthorization>>();

  constructor(parts: UpstreamOAuthParts) {
    this.#parts = parts;
    this.#records = new OAuthRecords(parts);
    this.#profiles = parts.profiles ?? shippedProfiles();
  }

  /**
   * What is recorded, or else discovery and registration now (network) and recorded. One at a time per upstream. Throws
   * `Problem`: `upstream_unreachable`, `upstream_address_refused` (502), the 422s of discovery and registration.
   */
  prepare(upstream: Upstream): Promise<UpstreamAuthorization> {
    return this.#once(upstream.id, async () => (await this.recorded(upstream)) ?? this.#search(upstream));
  }

  /** Looks for everything anew, as an administrator asks with reconnect. Another issuer than recorded is refused. */
  renew(upstream: Upstream): Promise<UpstreamAuthorization> {
    return this.#once(`renew ${upstream.id}`, () => this.#search(upstream));
  }

  /** From the database only; `undefined` until `prepare` was there. Inside a transaction, hand over its `db`. */
  async recorded(
    upstream: { id: string },
    db: Db | Tx = this.#parts.database.db,
  ): Promise<UpstreamAuthorization | undefined> {
    const row = await this.#records.find(db, upstream.id);
    if (!row?.metadata_json || row.issuer === null || row.client_id === null) return undefined;
    const { server, authMethod, secretExpiresAt, profile } = JSON.parse(row.metadata_json) as Metadata;
    if (secretExpiresAt !== undefined && secretExpiresAt <= this.#parts.world.now().getTime())
      return undefined;
    const clientSecret = this.#records.openSecret(row);
    return {
      configId: row.id,
      issuer: row.issuer,
      server,
      client: { client_id: row.client_id },
      clientAuth: clientAuthentication(authMethod, clientSecret),
      authMethod,
      clientSecret,
      redirectUri: row.redirect_uri,
      resource: row.resource ?? undefined,
      scopes: JSON.parse(row.scopes_json) as string[],
      facts: this.#profiles.factsOf(server, profile),
    };
  }

  /** Discovery and registration without storing anything; for an upstream that is about to be created. */
  async examine(target: DiscoveryTarget): Promise<RecordedOAuth> {
    const { world, settings } = this.#parts;
    const oauth = target.oauth!;
    const resource = await findProtectedResource(world, target.url, target.headers);
    const issuer =
      resource.authorizationServers[0] ??
      fallbackIssuer(target.url, oauth, this.#profiles.issuerOf(oauth.profile));
    const facts = this.#factsOf(issuer, oauth);
    const server = await findAuthorizationServer(world, issuer, oauth, facts);
    if (oauth.redirect === "shared") await this.#refuseAmbiguousRedirect(target.id, server);
    const scopes = chooseScopes(oauth.scopes, resource.scopes, server, facts);
    const registration = await register(world, settings, {
      server,
      oauth,
      redirectUri: redirectUri(settings, target.id, oauth.redirect),
      documentUrl: documentUrl(settings, target.id),
      scopes,
      facts,
    });
    const { authMethod, secretExpiresAt, ...client } = registration;
    const metadata: Metadata = { server, authMethod, secretExpiresAt, profile: oauth.profile };
    return {
      issuer: server.issuer,
      resource: chooseResource(oauth.resource, resource.resource, target.url, facts),
      server: metadata,
      scopes,
      ...client,
    };
  }

  /** Where the upstream's authorization server sends people back. */
  redirectUri(upstream: Upstream): string {
    return (
      upstream.redirectUri ??
      redirectUri(this.#parts.settings, upstream.id, upstream.oauth?.redirect ?? "own")
    );
  }

  /** Our client document for this upstream (Client ID Metadata Document). */
  clientDocument(upstream: Upstream): Record<string, unknown> {
    const { settings } = this.#parts;
    return {
      client_id: documentUrl(settings, upstream.id),
      ...clientMetadata(settings, this.redirectUri(upstream)),
      token_endpoint_auth_method: "none",
    };
  }

  #factsOf(issuer: string, oauth: OAuthSettings): ProviderFacts | undefined {
    const { authorizeUrl: authorization_endpoint, tokenUrl: token_endpoint, profile } = oauth;
    if (URL.parse(issuer) === null) return undefined;
    return this.#profiles.factsOf({ issuer, authorization_endpoint, token_endpoint }, profile);
  }

  /** RFC 9207 §1: at one redirect URI for several servers, only `iss` tells which of them answered. */
  async #refuseAmbiguousRedirect(id: string, server: AuthorizationServer): Promise<void> {
    if (server.authorization_response_iss_parameter_supported) return;
    const { database, settings } = this.#parts;
    const other = await database.db
      .selectFrom("oauth_configs")
      .select("id")
      .where("redirect_uri", "=", redirectUri(settings, id, "shared"))
      .where("upstream_id", "!=", id)
      .where("issuer", "!=", server.issuer)
      .executeTakeFirst();
    if (!other) return;
    throw new Problem(
      "unprocessable",
      "shared_redirect_unsafe",
      "Another authorization server uses the shared redirect URI and this one sends no iss. Use redirect own.",
      { param: "oauth_config.redirect" },
    );
  }

  async #search(upstream: Upstream): Promise<UpstreamAuthorization> {
    const row = await this.#records.find(this.#parts.database.db, upstream.id);
    if (!row) throw new Error("an upstream with OAuth without its oauth_configs row");
    const found = await this.examine(upstream);
    refuseOtherIssuer(row, found);
    const isStored = await this.#records.record(this.#parts.database.db, row, found);
    const recorded = await this.recorded(upstream);
    if (recorded) return recorded;
    throw new Problem("conflict", "mcp_client_changed", "The MCP client was changed meanwhile. Try again.", {
      log: { stored: isStored },
    });
  }

  #once(key: string, work: () => Promise<UpstreamAuthorization>): Promise<UpstreamAuthorization> {
    const running = this.#running.get(key);
    if (running) return running;
    const started = work().finally(() => this.#running.delete(key));
    this.#running.set(key, started);
    return started;
  }
}

/** MCP "Authorization Server Binding": what one issuer gave us is not used at another, nor replaced without being asked. */
function refuseOtherIssuer(row: Row<"oauth_configs">, found: RecordedOAuth): void {
  if (row.issuer === null || row.issuer === found.issuer) return;
  throw new Problem(
    "conflict",
    "issuer_changed",
    "The upstream now names another authorization server. If that is right, delete this MCP client and create it again.",
    { log: { recorded: row.issuer, found: found.issuer } },
  );
}

function documentUrl(settings: Settings, upstreamId: string): string {
  return new URL(`/oauth/client/${upstreamId}.json`, settings.baseUrl).href;
}

/** MCP 2025-03-26 servers without RFC 9728 metadata are their own authorization server, at the root of their origin. */
function fallbackIssuer(url: URL, oauth: OAuthSettings, ofProfile: string | undefined): string {
  if (oauth.authorizeUrl && oauth.tokenUrl) return new URL(oauth.tokenUrl).origin;
  return ofProfile ?? url.origin;
}

/** MCP "Scope Selection": the administrator's, else the challenge's, else what the metadata lists, with the profile's. */
function chooseScopes(
  given: readonly string[],
  named: readonly string[],
  server: AuthorizationServer,
  facts: ProviderFacts | undefined,
): string[] {
  if (given.length > 0) return [...given];
  const offline = named.length > 0 && server.scopes_supported?.includes("offline_access");
  const added = named.length > 0 ? (facts?.scope?.add ?? []) : [];
  return [...new Set([...named, ...(offline ? ["offline_access"] : []), ...added])];
}

function chooseResource(
  given: string | undefined,
  published: string | undefined,
  url: URL,
  facts: ProviderFacts | undefined,
): string | undefined {
  if (given !== undefined) return given === "" ? undefined : given;
  if (facts?.resource === "omit") return undefined;
  // MCP "Canonical Server URI": without a trailing slash where the path is empty.
  return published ?? (url.pathname === "/" && url.search === "" ? url.origin : url.href);
}
