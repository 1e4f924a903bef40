import { sql } from "kysely";
import type { AuthorizationServer } from "oauth4webapi";
import { Hidden, newId, type Seal, type SealContext, type Settings, type World } from "../base/index.ts";
import type { Db, Row, Tx } from "../db/index.ts";
import type { Definition } from "./definition.ts";
import { shippedProfiles } from "./profiles.ts";
import { type AuthMethod, givenMethod } from "./registration.ts";
import type { GrantType, OAuthSettings } from "./upstream.ts";

/** How we came to be a client of the authorization server. */
export type ClientSource = "given" | "cimd" | "dcr";

/** What discovery and registration found; written whole, so that issuer, endpoints and client always belong together. */
export interface RecordedOAuth {
  issuer: string;
  resource: string | undefined;
  /** RFC 8414 metadata, endpoints replaced by the administrator's where given. */
  server: Record<string, unknown>;
  scopes: string[];
  clientId: string;
  clientSource: ClientSource;
  clientSecret?: Hidden;
}

/** `oauth_configs.metadata_json`. */
export interface Metadata extends Record<string, unknown> {
  server: AuthorizationServer;
  authMethod: AuthMethod;
  secretExpiresAt?: number;
  /** The profile that the administrator named. */
  profile?: string;
  /** Absent: `authorization_code`. */
  grantType?: GrantType;
  privateKeyId?: string;
}

/** Where each upstream's authorization answers come back. */
export function redirectUri(settings: Settings, upstreamId: string, redirect: "own" | "shared"): string {
  const path = redirect === "shared" ? "/api/oauth/callback" : `/api/oauth/callback/${upstreamId}`;
  return new URL(path, settings.baseUrl).href;
}

/** Rows of `oauth_configs`: one for each upstream with OAuth, from its creation on. */
export class OAuthRecords {
  readonly #world: World;
  readonly #seal: Seal;
  readonly #settings: Settings;

  constructor(parts: { world: World; seal: Seal; settings: Settings }) {
    this.#world = parts.world;
    this.#seal = parts.seal;
    this.#settings = parts.settings;
  }

  async create(tx: Tx, upstreamId: string, definition: Definition): Promise<string> {
    const id = newId(this.#world, "oauth");
    const now = this.#world.now().getTime();
    await tx
      .insertInto("oauth_configs")
      .values({
        id,
        upstream_id: upstreamId,
        ...this.#given(id, upstreamId, definition),
        created_at: now,
        updated_at: now,
      })
      .execute();
    return id;
  }

  /** Forgets what was discovered and registered; the next use starts anew with what the administrator gave. */
  async reset(tx: Tx, row: Row<"oauth_configs">, definition: Definition): Promise<void> {
    const given = this.#given(row.id, row.upstream_id, definition);
    await tx
      .updateTable("oauth_configs")
      .set({
        ...given,
        ...(definition.clientSecret === "keep" ? { sealed_client_secret: row.sealed_client_secret } : {}),
        ...(definition.privateKey === "keep" ? { sealed_private_key: row.sealed_private_key } : {}),
        updated_at: this.#later(row),
      })
      .where("id", "=", row.id)
      .execute();
  }

  /** Replaces what a given client proves itself with, if it is something else: same client, same server. */
  async keepProof(
    tx: Tx,
    row: Row<"oauth_configs">,
    before: OAuthSettings | undefined,
    definition: Definition,
  ): Promise<void> {
    const { clientSecret, privateKey, oauth } = definition;
    const isSame =
      isStored(clientSecret, this.openSecret(row)) &&
      isStored(privateKey, this.openKey(row)) &&
      before?.authMethod === oauth!.authMethod &&
      before?.privateKeyId === oauth!.privateKeyId;
    if (isSame) return;
    const { sealed_client_secret, sealed_private_key } = this.#given(row.id, row.upstream_id, definition);
    await tx
      .updateTable("oauth_configs")
      .set({
        ...(clientSecret === "keep" ? {} : { sealed_client_secret }),
        ...(privateKey === "keep" ? {} : { sealed_private_key }),
        metadata_json: row.metadata_json && withProof(row.metadata_json, oauth!),
        updated_at: this.#later(row),
      })
      .where("id", "=", row.id)
      .execute();
  }

  /** Replaces what is asked for at the next authorization: same client, same server. */
  async setScopes(tx: Tx, row: Row<"oauth_configs">, scopes: readonly string[]): Promise<void> {
    await tx
      .updateTable("oauth_configs")
      .set({ scopes_json: JSON.stringify(scopes), updated_at: sql`updated_at + 1` })
      .where("id", "=", row.id)
      .where("scopes_json", "!=", JSON.stringify(scopes))
      .execute();
  }

  /**
   * Stores what was found, if the row is still the one that the search began with. False when it changed meanwhile or is
   * gone: what was found belongs to settings that no longer hold.
   */
  async record(db: Db | Tx, row: Row<"oauth_configs">, found: RecordedOAuth): Promise<boolean> {
    const secret = found.clientSecret && this.#sealSecret(row.id, row.upstream_id, found.clientSecret);
    const result = await db
      .updateTable("oauth_configs")
      .set({
        issuer: found.issuer,
        resource: found.resource ?? null,
        client_id: found.clientId,
        client_source: found.clientSource,
        // A given client keeps the secret that was given with it.
        ...(found.clientSource === "given" ? {} : { sealed_client_secret: secret ?? null }),
        metadata_json: JSON.stringify(found.server),
        scopes_json: JSON.stringify(found.scopes),
        updated_at: this.#later(row),
      })
      .where("id", "=", row.id)
      .where("updated_at", "=", row.updated_at)
      .executeTakeFirst();
    return result.numUpdatedRows > 0n;
  }

  find(db: Db | Tx, upstreamId: string): Promise<Row<"oauth_configs"> | undefined> {
    return db
      .selectFrom("oauth_configs")
      .selectAll()
      .where("upstream_id", "=", upstreamId)
      .executeTakeFirst();
  }

  openSecret(row: Row<"oauth_configs">): Hidden | undefined {
    if (!row.sealed_client_secret) return undefined;
    return new Hidden(this.#seal.openText(row.sealed_client_secret, secretContext(row.id, row.upstream_id)));
  }

  openKey(row: Row<"oauth_configs">): Hidden | undefined {
    if (!row.sealed_private_key) return undefined;
    return new Hidden(this.#seal.openText(row.sealed_private_key, keyContext(row.id, row.upstream_id)));
  }

  /** `updated_at` is the row's version as well, so two writes within a millisecond differ. */
  #later(row: Row<"oauth_configs">): number {
    return Math.max(this.#world.now().getTime(), row.updated_at + 1);
  }

  #given(id: string, upstreamId: string, definition: Definition) {
    const oauth = definition.oauth!;
    const { clientSecret, privateKey } = definition;
    return {
      issuer: null,
      redirect_uri: redirectUri(this.#settings, upstreamId, oauth.redirect),
      resource: oauth.resource ?? null,
      client_id: oauth.clientId ?? null,
      client_source: oauth.clientId ? ("given" as const) : null,
      sealed_client_secret:
        clientSecret instanceof Hidden ? this.#sealSecret(id, upstreamId, clientSecret) : null,
      sealed_private_key:
        privateKey instanceof Hidden
          ? this.#seal.seal(privateKey.reveal(), keyContext(id, upstreamId))
          : null,
      metadata_json: null,
      scopes_json: JSON.stringify(oauth.scopes),
    };
  }

  #sealSecret(id: string, upstreamId: string, secret: Hidden): Buffer {
    return this.#seal.seal(secret.reveal(), secretContext(id, upstreamId));
  }
}

function isStored(given: Hidden | "keep" | null, stored: Hidden | undefined): boolean {
  return given === "keep" || given?.reveal() === stored?.reveal();
}

/** What was discovered stays; how we prove ourselves there is decided anew. */
function withProof(metadata: string, oauth: OAuthSettings): string {
  const known = JSON.parse(metadata) as Metadata;
  const facts = shippedProfiles().factsOf(known.server, known.profile);
  const authMethod = givenMethod(oauth, known.server, facts);
  return JSON.stringify({ ...known, authMethod, privateKeyId: oauth.privateKeyId });
}

function keyContext(id: string, upstreamId: string): SealContext {
  return ["oauth_configs", "sealed_private_key", id, "", "", upstreamId];
}

function secretContext(id: string, upstreamId: string): SealContext {
  return ["oauth_configs", "sealed_client_secret", id, "", "", upstreamId];
}
