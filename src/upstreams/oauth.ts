import type { AuthorizationServer, Client, ClientAuth } from "oauth4webapi";
import { type Hidden, Problem, type Seal, type Settings, type Tls, type World } from "../base/index.ts";
import type { Database, Db, Row, Tx } from "../db/index.ts";
import { findAuthorizationServer } from "./authorization-server.ts";
import { type Metadata, OAuthRecords, type RecordedOAuth, redirectUri } from "./oauth-records.ts";
import type { ProviderFacts } from "./profile.ts";
import { type Profiles, shippedProfiles } from "./profiles.ts";
import { findProtectedResource } from "./protected-resource.ts";
import {
  type AuthMethod,
  clientAuthentication,
  clientMetadata,
  type Registration,
  register,
} from "./registration.ts";
import { findTls } from "./tls-rows.ts";
import { type GrantType, type OAuthSettings, type Upstream, usesClientCredentials } from "./upstream.ts";

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
  privateKey?: Hidden;
  privateKeyId?: string;
  /** How the token is obtained (RFC 6749 §4.1 or §4.4). */
  grantType: GrantType;
  redirectUri: string;
  /** RFC 8707; goes into authorization, token and refresh requests. Absent: the administrator switched it off. */
  resource?: string;
  scopes: string[];
  /** What is particular about the provider; absent where nothing is known. */
  facts?: ProviderFacts;
  /** The upstream's; for a server of the same origin. */
  tls?: Tls;
}

/** What discovery needs to know of an upstream, stored already or not. */
export interface DiscoveryTarget {
  id: string;
  url: URL;
  headers: Readonly<Record<string, Hidden>>;
  tls?: Tls;
  oauth?: OAuthSettings;
}

interface KnownRegistration {
  issuer: string;
  registration: Registration;
}

export interface UpstreamOAuthParts {
  world: World;
  database: Database;
  seal: Seal;
  settings: Settings;
  /** Those that come with the gateway, unless given. */
  profiles?: Profiles;
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

  /**
   * Registers us anew, with everything looked for anew. `also` runs in the transaction that drops the old registration.
   * Throws 409 `client_given` for a client that an administrator registered, and what `prepare` throws: then nothing
   * changed.
   */
  async reregister(upstream: Upstream, also: (tx: Tx) => Promise<void>): Promise<void> {
    const { database } = this.#parts;
    const row = await this.#records.find(database.db, upstream.id);
    if (!row) throw new Error("an upstream with OAuth without its oauth_configs row");
    if (upstream.oauth?.clientId !== undefined) throw clientGiven();
    const found = await this.examine(upstream);
    refuseOtherIssuer(row, found);
    await database.transaction(async (tx) => {
      if (!(await this.#records.record(tx, row, found))) throw changedMeanwhile();
      await also(tx);
    });
  }

  /** From the database only; `undefined` until `prepare` was there. Inside a transaction, hand over its `db`. */
  async recorded(
    upstream: { id: string },
    db: Db | Tx = this.#parts.database.db,
  ): Promise<UpstreamAuthorization | undefined> {
    const row = await this.#records.find(db, upstream.id);
    if (!row?.metadata_json || row.issuer === null || row.client_id === null) return undefined;
    const { server, authMethod, secretExpiresAt, profile, grantType, privateKeyId } = JSON.parse(
      row.metadata_json,
    ) as Metadata;
    if (secretExpiresAt !== undefined && secretExpiresAt <= this.#parts.world.now().getTime())
      return undefined;
    const clientSecret = this.#records.openSecret(row);
    const privateKey = this.#records.openKey(row);
    return {
      configId: row.id,
      issuer: row.issuer,
      server,
      client: { client_id: row.client_id },
      clientAuth: clientAuthentication(authMethod, { clientSecret, privateKey, privateKeyId }),
      authMethod,
      clientSecret,
      privateKey,
      privateKeyId,
      grantType: grantType ?? "authorization_code",
      redirectUri: row.redirect_uri,
      resource: row.resource ?? undefined,
      scopes: JSON.parse(row.scopes_json) as string[],
      facts: this.#profiles.factsOf(server, profile),
      tls: await findTls(db, upstream.id, this.#parts.seal),
    };
  }

  /**
   * Discovery and registration without storing anything; for an upstream that is about to be created. `known`: a
   * registration that is kept where it is still one at the server that is found.
   */
  async examine(target: DiscoveryTarget, known?: KnownRegistration): Promise<RecordedOAuth> {
    const { world, settings } = this.#parts;
    const oauth = target.oauth!;
    const resource = await findProtectedResource(world, target.url, target.headers, target.tls);
    const issuer =
      resource.authorizationServers[0] ??
      fallbackIssuer(target.url, oauth, this.#profiles.issuerOf(oauth.profile));
    const facts = this.#factsOf(issuer, oauth);
    const server = await findAuthorizationServer(world, issuer, oauth, facts, target.tls);
    if (oauth.redirect === "shared" && !usesClientCredentials({ oauth }))
      await this.#refuseAmbiguousRedirect(target.id, server);
    const scopes = chooseScopes(oauth, resource.scopes, server, facts);
    const request = {
      server,
      oauth,
      redirectUri: redirectUri(settings, target.id, oauth.redirect),
      documentUrl: documentUrl(settings, target.id),
      scopes,
      facts,
      tls: target.tls,
    };
    const isKept = known?.issuer === server.issuer;
    const registration = isKept ? known.registration : await register(world, settings, request);
    const { authMethod, secretExpiresAt, ...client } = registration;
    const { profile, grantType, privateKeyId } = oauth;
    const metadata: Metadata = { server, authMethod, secretExpiresAt, profile, grantType, privateKeyId };
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
    const found = await this.examine(upstream, this.#known(row));
    refuseOtherIssuer(row, found);
    const isStored = await this.#records.record(this.#parts.database.db, row, found);
    const recorded = await this.recorded(upstream);
    if (recorded) return recorded;
    throw changedMeanwhile({ stored: isStored });
  }

  /** RFC 7591: the client that was registered before; its tokens work with no other. Undefined when it has expired. */
  #known(row: Row<"oauth_configs">): KnownRegistration | undefined {
    if (row.client_source !== "dcr" || row.client_id === null || row.issuer === null) return undefined;
    const { authMethod, secretExpiresAt } = JSON.parse(row.metadata_json ?? "{}") as Partial<Metadata>;
    const isOver = secretExpiresAt !== undefined && secretExpiresAt <= this.#parts.world.now().getTime();
    if (authMethod === undefined || isOver) return undefined;
    const { client_id: clientId, client_source: clientSource, issuer } = row;
    const clientSecret = this.#records.openSecret(row);
    return { issuer, registration: { clientId, clientSource, clientSecret, authMethod, secretExpiresAt } };
  }

  #once(key: string, work: () => Promise<UpstreamAuthorization>): Promise<UpstreamAuthorization> {
    const running = this.#running.get(key);
    if (running) return running;
    const started = work().finally(() => this.#running.delete(key));
    this.#running.set(key, started);
    return started;
  }
}

function changedMeanwhile(log?: Record<string, unknown>): Problem {
  const message = "The MCP client was changed meanwhile. Try again.";
  return new Problem("conflict", "mcp_client_changed", message, { log });
}

function clientGiven(): Problem {
  const message =
    "The client_id of oauth_config was registered by hand, so the gateway cannot register it again. Register a new client at the provider and change client_id and client_secret.";
  return new Problem("conflict", "client_given", message, { param: "oauth_config.client_id" });
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
  const isNamed = oauth.authorizeUrl || usesClientCredentials({ oauth });
  if (isNamed && oauth.tokenUrl) return new URL(oauth.tokenUrl).origin;
  return ofProfile ?? url.origin;
}

/** MCP "Scope Selection": the administrator's, else the challenge's, else what the metadata lists, with the profile's. */
function chooseScopes(
  oauth: OAuthSettings,
  named: readonly string[],
  server: AuthorizationServer,
  facts: ProviderFacts | undefined,
): string[] {
  if (oauth.scopes.length > 0) return [...oauth.scopes];
  // RFC 6749 §4.4.3: no refresh token is given here, and what a profile adds is about people.
  if (usesClientCredentials({ oauth })) return [...named];
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
