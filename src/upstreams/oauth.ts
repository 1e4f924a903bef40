import type { AuthorizationServer } from "oauth4webapi";
import { type Hidden, Problem, type Seal, type Settings, type Tls, type World } from "../base/index.ts";
import type { Database, Db, Row, Tx } from "../db/index.ts";
import { readAssertion } from "./assertion.ts";
import { findAuthorizationServer } from "./authorization-server.ts";
import { exchangeAt } from "./caller-exchange.ts";
import { chooseResource, chooseScopes, choosesProofs, fallbackIssuer, furtherScopes } from "./choices.ts";
import { type ClientDeletionParts, handleDeletions } from "./client-deletion.ts";
import { changedMeanwhile, clientGiven, issuerChanged, refuseMove, sameIssuer } from "./issuer-binding.ts";
import { type Metadata, OAuthRecords, type RecordedOAuth, redirectUri } from "./oauth-records.ts";
import type { ProviderFacts } from "./profile.ts";
import { type Profiles, shippedProfiles } from "./profiles.ts";
import { findProtectedResource } from "./protected-resource.ts";
import { type RegisteredAgain, registerAgain } from "./register-again.ts";
import { clientAuthentication, clientMetadata, type Registration, register } from "./registration.ts";
import { findTls } from "./tls-rows.ts";
import { type OAuthSettings, obtainsOwnToken, type Upstream } from "./upstream.ts";
import type { UpstreamAuthorization } from "./upstream-authorization.ts";

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

/** What an upstream was bound to before a search. */
interface Before {
  /** Of the server that is recorded; kept while the upstream still names it. */
  issuer?: string;
  /** A registration that is kept where it is still one at the server that is found. */
  known?: KnownRegistration;
  /** An administrator asks: another server may take the place of the one that is recorded. */
  mayMove?: boolean;
}

/** Does what must follow when another authorization server took the place of the one before, in the same transaction. */
export type Moved = (tx: Tx, issuers: { from: string; to: string }) => Promise<void>;

export interface UpstreamOAuthParts extends ClientDeletionParts {
  world: World;
  database: Database;
  seal: Seal;
  settings: Settings;
  /** Those that come with the gateway, unless given. */
  profiles?: Profiles;
}

/** Within this time an upstream that was asked is not asked again. */
const ASKED_MS = 60_000;

/** How we are a client of each upstream's authorization server: found once, recorded, and then kept to. */
export class UpstreamOAuth {
  readonly #parts: UpstreamOAuthParts;
  readonly #records: OAuthRecords;
  readonly #profiles: Profiles;
  readonly #running = new Map<string, Promise<unknown>>();
  /** When an upstream was last asked which authorization server it names, by its id. */
  readonly #askedAt = new Map<string, number>();

  constructor(parts: UpstreamOAuthParts) {
    this.#parts = parts;
    this.#records = new OAuthRecords(parts);
    this.#profiles = parts.profiles ?? shippedProfiles();
    handleDeletions(parts);
  }

  /**
   * What is recorded, or else discovery and registration now (network) and recorded. One at a time per upstream. Throws
   * `Problem`: `upstream_unreachable`, `upstream_address_refused` (502), the 422s of discovery and registration.
   */
  prepare(upstream: Upstream): Promise<UpstreamAuthorization> {
    return this.#once(upstream.id, async () => (await this.recorded(upstream)) ?? this.#search(upstream));
  }

  /**
   * For somebody who is about to consent: what is recorded, if the upstream still names that authorization server. Where it
   * cannot be asked now, what is recorded counts. Throws 409 `issuer_changed` otherwise: nobody is sent to a server that no
   * administrator has seen (R9); and what `prepare` throws.
   */
  current(upstream: Upstream): Promise<UpstreamAuthorization> {
    return this.#once(`current ${upstream.id}`, () => this.#confirm(upstream));
  }

  async #confirm(upstream: Upstream): Promise<UpstreamAuthorization> {
    const recorded = await this.recorded(upstream);
    if (!recorded) return this.prepare(upstream);
    const now = this.#parts.world.now().getTime();
    if (now - (this.#askedAt.get(upstream.id) ?? 0) < ASKED_MS) return recorded;
    const named = await this.#named(upstream);
    if (named.length > 0 && !named.some((issuer) => sameIssuer(issuer, recorded.issuer)))
      throw issuerChanged({ from: recorded.issuer, to: named[0]! });
    this.#askedAt.set(upstream.id, now);
    return recorded;
  }

  /**
   * Looks for everything anew, as an administrator asks. Where the upstream names another authorization server now, the
   * gateway registers there, nothing of the old one is used, and `moved` runs in the same transaction.
   */
  renew(upstream: Upstream, moved: Moved): Promise<UpstreamAuthorization> {
    return this.#once(`renew ${upstream.id}`, () => this.#search(upstream, moved));
  }

  /**
   * Registers us anew, with everything looked for anew, at another authorization server if that is what the upstream names.
   * `also` runs in the transaction that drops the old registration. Throws 409 `client_given` for a client that an
   * administrator registered, and what `prepare` throws: then nothing changed.
   */
  async reregister(upstream: Upstream, also: (tx: Tx, issuer: string) => Promise<void>): Promise<void> {
    const row = await this.#row(upstream);
    if (upstream.oauth?.clientId !== undefined) throw clientGiven();
    const found = await this.examine(upstream, { issuer: row.issuer ?? undefined, mayMove: true });
    await this.#parts.database.transaction(async (tx) => {
      if (!(await this.#records.record(tx, row, found))) throw changedMeanwhile();
      await also(tx, found.issuer);
    });
  }

  /**
   * The authorization server does not know the client any more that was recorded as `version`, or (undefined) its secret has
   * ended: another one is registered, by one replica and once in a while; see `registerAgain`.
   */
  renewClient(upstream: Upstream, version: number | undefined): Promise<RegisteredAgain> {
    return this.#once(`again ${upstream.id}`, () =>
      registerAgain(this.#parts, this.#records, upstream.id, {
        version,
        examine: (issuer) => this.examine(upstream, { issuer }),
      }),
    );
  }

  /** From the database only; `undefined` until `prepare` was there. Inside a transaction, hand over its `db`. */
  async recorded(
    upstream: { id: string },
    db: Db | Tx = this.#parts.database.db,
  ): Promise<UpstreamAuthorization | undefined> {
    const row = await this.#records.find(db, upstream.id);
    if (!row?.metadata_json || row.issuer === null || row.client_id === null) return undefined;
    const metadata = JSON.parse(row.metadata_json) as Metadata;
    const { server, authMethod, secretExpiresAt, profile, grantType, privateKeyId } = metadata;
    if (secretExpiresAt !== undefined && secretExpiresAt <= this.#parts.world.now().getTime())
      return undefined;
    const clientSecret = this.#records.openSecret(row);
    const privateKey = this.#records.openKey(row);
    return {
      configId: row.id,
      version: row.updated_at,
      clientSource: row.client_source ?? "given",
      registeredAgainAt: row.registered_again_at ?? undefined,
      issuer: row.issuer,
      server,
      client: { client_id: row.client_id },
      clientAuth: clientAuthentication(authMethod, { clientSecret, privateKey, privateKeyId }),
      authMethod,
      clientSecret,
      privateKey,
      privateKeyId,
      grantType: grantType ?? "authorization_code",
      ...this.#shown(row, metadata),
      redirectUri: row.redirect_uri,
      resource: row.resource ?? undefined,
      scopes: JSON.parse(row.scopes_json) as string[],
      proofs: metadata.proofs === true,
      facts: this.#profiles.factsOf(server, profile),
      tls: await findTls(db, upstream.id, this.#parts.seal),
    };
  }

  /**
   * Discovery and registration without storing anything; for an upstream that is about to be created, or that was bound to
   * something `before`.
   */
  async examine(target: DiscoveryTarget, before: Before = {}): Promise<RecordedOAuth> {
    const { world, settings } = this.#parts;
    const oauth = target.oauth!;
    if (oauth.exchangesCallers) return exchangeAt(oauth, target.url);
    const resource = await findProtectedResource(world, target.url, target.headers, target.tls);
    const named = resource.authorizationServers;
    const issuer =
      named.find((one) => before.issuer !== undefined && sameIssuer(one, before.issuer)) ??
      named[0] ??
      fallbackIssuer(target.url, oauth, this.#profiles.issuerOf(oauth.profile));
    const facts = this.#factsOf(issuer, oauth);
    const server = await findAuthorizationServer(world, issuer, oauth, facts, target.tls);
    refuseMove(oauth, before, server.issuer);
    if (oauth.redirect === "shared" && !obtainsOwnToken({ oauth }))
      await this.#refuseAmbiguousRedirect(target.id, server);
    const scopes = chooseScopes(oauth, resource.scopes, server, facts);
    const request = {
      server,
      oauth,
      redirectUri: redirectUri(settings, target.id, oauth.redirect),
      documentUrl: documentUrl(settings, target.id),
      scopes,
      furtherScopes: furtherScopes(oauth, resource, server),
      facts,
      tls: target.tls,
    };
    const proofs = choosesProofs(oauth, resource, server);
    const { known } = before;
    const isKept = known?.issuer === server.issuer;
    const registration = isKept ? known.registration : await register(world, settings, request);
    const { authMethod, secretExpiresAt, ...client } = registration;
    const { profile, grantType, privateKeyId } = oauth;
    const { assertionFile, subjectTokenType, idp } = oauth;
    const metadata: Metadata = {
      server,
      authMethod,
      secretExpiresAt,
      profile,
      grantType,
      privateKeyId,
      assertionFile,
      subjectTokenType,
      idp,
    };
    if (proofs) metadata.proofs = true;
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

  /** What goes with grants that show something. */
  #shown(
    row: Row<"oauth_configs">,
    { assertionFile, idp, subjectTokenType = "id_token" }: Metadata,
  ): Pick<UpstreamAuthorization, "assertion" | "idp"> {
    const given = this.#records.open(row, "sealed_assertion");
    if (!given && !assertionFile) return {};
    const clientSecret = this.#records.open(row, "sealed_idp_secret");
    return {
      assertion: async () => given ?? readAssertion(assertionFile!),
      idp: idp && { tokenUrl: idp.tokenUrl, clientId: idp.clientId, clientSecret, subjectTokenType },
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

  async #search(upstream: Upstream, moved?: Moved): Promise<UpstreamAuthorization> {
    const row = await this.#row(upstream);
    const issuer = row.issuer ?? undefined;
    const found = await this.examine(upstream, {
      issuer,
      known: this.#known(row),
      mayMove: moved !== undefined,
    });
    const isStored = await this.#parts.database.transaction(async (tx) => {
      const stored = await this.#records.record(tx, row, found);
      const isOther = issuer !== undefined && issuer !== found.issuer;
      if (stored && isOther) await moved?.(tx, { from: issuer, to: found.issuer });
      return stored;
    });
    const recorded = await this.recorded(upstream);
    if (!recorded) throw changedMeanwhile({ stored: isStored });
    this.#askedAt.set(upstream.id, this.#parts.world.now().getTime());
    return recorded;
  }

  async #row(upstream: Upstream): Promise<Row<"oauth_configs">> {
    const row = await this.#records.find(this.#parts.database.db, upstream.id);
    if (!row) throw new Error("an upstream with OAuth without its oauth_configs row");
    return row;
  }

  /** The authorization servers that the upstream names now; none where it names none, or cannot be asked. */
  async #named({ id, url, headers, tls }: Upstream): Promise<string[]> {
    const { world } = this.#parts;
    try {
      return (await findProtectedResource(world, url, headers, tls)).authorizationServers;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      world.log.info("upstream.issuer_not_confirmed", { upstream: id, code: error.code });
      return [];
    }
  }

  /** RFC 7591: the client that was registered before; its tokens work with no other. Undefined when it has expired. */
  #known(row: Row<"oauth_configs">): KnownRegistration | undefined {
    if (row.client_source !== "dcr" || row.client_id === null || row.issuer === null) return undefined;
    const { authMethod, secretExpiresAt } = JSON.parse(row.metadata_json ?? "{}") as Partial<Metadata>;
    const isOver = secretExpiresAt !== undefined && secretExpiresAt <= this.#parts.world.now().getTime();
    if (authMethod === undefined || isOver) return undefined;
    const { client_id: clientId, client_source: clientSource, issuer } = row;
    const clientSecret = this.#records.openSecret(row);
    const management = this.#records.openManagement(row);
    const registration = { clientId, clientSource, clientSecret, authMethod, secretExpiresAt, management };
    return { issuer, registration };
  }

  #once<T>(key: string, work: () => Promise<T>): Promise<T> {
    const running = this.#running.get(key) as Promise<T> | undefined;
    if (running) return running;
    const started = work().finally(() => this.#running.delete(key));
    this.#running.set(key, started);
    return started;
  }
}

function documentUrl(settings: Settings, upstreamId: string): string {
  return new URL(`/oauth/client/${upstreamId}.json`, settings.baseUrl).href;
}
