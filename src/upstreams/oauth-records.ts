import { Hidden, newId, type Seal, type SealContext, type Settings, type World } from "../base/index.ts";
import type { Db, Row, Tx } from "../db/index.ts";
import type { Definition } from "./definition.ts";

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
    const { sealed_client_secret, ...given } = this.#given(row.id, row.upstream_id, definition);
    const secret = definition.clientSecret === "keep" ? row.sealed_client_secret : sealed_client_secret;
    await tx
      .updateTable("oauth_configs")
      .set({ ...given, sealed_client_secret: secret, updated_at: this.#later(row) })
      .where("id", "=", row.id)
      .execute();
  }

  /** Replaces the client secret alone: same client, same server. */
  async setSecret(tx: Tx, row: Row<"oauth_configs">, secret: Hidden | null): Promise<void> {
    const sealed = secret && this.#sealSecret(row.id, row.upstream_id, secret);
    await tx
      .updateTable("oauth_configs")
      .set({ sealed_client_secret: sealed, updated_at: this.#later(row) })
      .where("id", "=", row.id)
      .execute();
  }

  /** Replaces what is asked for at the next authorization: same client, same server. */
  async setScopes(tx: Tx, row: Row<"oauth_configs">, scopes: readonly string[]): Promise<void> {
    await tx
      .updateTable("oauth_configs")
      .set({ scopes_json: JSON.stringify(scopes) })
      .where("id", "=", row.id)
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

  /** `updated_at` is the row's version as well, so two writes within a millisecond differ. */
  #later(row: Row<"oauth_configs">): number {
    return Math.max(this.#world.now().getTime(), row.updated_at + 1);
  }

  #given(id: string, upstreamId: string, definition: Definition) {
    const oauth = definition.oauth!;
    const { clientSecret } = definition;
    return {
      issuer: null,
      redirect_uri: redirectUri(this.#settings, upstreamId, oauth.redirect),
      resource: oauth.resource ?? null,
      client_id: oauth.clientId ?? null,
      client_source: oauth.clientId ? ("given" as const) : null,
      sealed_client_secret:
        clientSecret instanceof Hidden ? this.#sealSecret(id, upstreamId, clientSecret) : null,
      metadata_json: null,
      scopes_json: JSON.stringify(oauth.scopes),
    };
  }

  #sealSecret(id: string, upstreamId: string, secret: Hidden): Buffer {
    return this.#seal.seal(secret.reveal(), secretContext(id, upstreamId));
  }
}

function secretContext(id: string, upstreamId: string): SealContext {
  return ["oauth_configs", "sealed_client_secret", id, "", "", upstreamId];
}
