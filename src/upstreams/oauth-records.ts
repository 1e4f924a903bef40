import { sql } from "kysely";
import type { AuthorizationServer } from "oauth4webapi";
import {
  Hidden,
  newId,
  type Seal,
  type SealContext,
  SealFault,
  type Settings,
  type World,
} from "../base/index.ts";
import type { Db, Outbox, Row, Tx } from "../db/index.ts";
import { type Management, queueDeletion } from "./client-deletion.ts";
import type { Definition } from "./definition.ts";
import type { GivenSecret } from "./oauth-definition.ts";
import { shippedProfiles } from "./profiles.ts";
import { type AuthMethod, givenMethod } from "./registration.ts";
import { findTls } from "./tls-rows.ts";
import type { GrantType, OAuthSettings, SubjectTokenType } from "./upstream.ts";

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
  management?: Management;
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
  /** Tokens are asked for with a key that they are bound to (RFC 9449). */
  proofs?: boolean;
  assertionFile?: string;
  subjectTokenType?: SubjectTokenType;
  idp?: OAuthSettings["idp"];
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
  readonly #outbox: Outbox | undefined;

  /** Without `outbox` nobody is told of registrations that are given up. */
  constructor(parts: { world: World; seal: Seal; settings: Settings; outbox?: Outbox }) {
    this.#world = parts.world;
    this.#outbox = parts.outbox;
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

  /** Gives a registration of ours up, for good: the server that made it is told (RFC 7592 §2.3). */
  async retire(tx: Tx, row: Row<"oauth_configs">): Promise<void> {
    const management = this.openManagement(row);
    if (!management || row.client_id === null) return;
    const upstreamId = row.upstream_id;
    const tls = await findTls(tx, upstreamId, this.#seal);
    await queueDeletion(this.#outbox, tx, { upstreamId, clientId: row.client_id, management, tls });
  }

  /** Forgets what was discovered and registered; the next use starts anew with what the administrator gave. */
  async reset(tx: Tx, row: Row<"oauth_configs">, definition: Definition): Promise<void> {
    await this.retire(tx, row);
    const given = this.#given(row.id, row.upstream_id, definition);
    await tx
      .updateTable("oauth_configs")
      .set({
        ...given,
        ...keptSecrets(row, definition),
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
    const { clientSecret, privateKey, assertion, idpSecret, oauth } = definition;
    const isSame =
      isStored(clientSecret, this.openSecret(row)) &&
      isStored(privateKey, this.openKey(row)) &&
      isStored(assertion, this.open(row, "sealed_assertion")) &&
      isStored(idpSecret, this.open(row, "sealed_idp_secret")) &&
      before?.authMethod === oauth!.authMethod &&
      before?.privateKeyId === oauth!.privateKeyId;
    if (isSame) return;
    const given = this.#given(row.id, row.upstream_id, definition);
    const { sealed_client_secret, sealed_private_key, sealed_assertion, sealed_idp_secret } = given;
    await tx
      .updateTable("oauth_configs")
      .set({
        sealed_client_secret,
        sealed_private_key,
        sealed_assertion,
        sealed_idp_secret,
        ...keptSecrets(row, definition),
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
   * Stores what was found, if the row is still the one that the search began with; a registration that it replaces is
   * given up; with `isForgotten`, the server gave it up itself. False when it changed meanwhile or is gone: what was found belongs to settings that no longer hold.
   */
  async record(
    tx: Tx,
    row: Row<"oauth_configs">,
    found: RecordedOAuth,
    { isForgotten = false }: { isForgotten?: boolean } = {},
  ): Promise<boolean> {
    const secret = this.#sealGiven("sealed_client_secret", row.id, row.upstream_id, found.clientSecret);
    const result = await tx
      .updateTable("oauth_configs")
      .set({
        issuer: found.issuer,
        resource: found.resource ?? null,
        client_id: found.clientId,
        client_source: found.clientSource,
        // A given client keeps the secret that was given with it.
        ...(found.clientSource === "given" ? {} : { sealed_client_secret: secret }),
        sealed_management: this.#sealManagement(row, found.management),
        metadata_json: JSON.stringify(found.server),
        scopes_json: JSON.stringify(found.scopes),
        updated_at: this.#later(row),
      })
      .where("id", "=", row.id)
      .where("updated_at", "=", row.updated_at)
      .executeTakeFirst();
    if (result.numUpdatedRows === 0n) return false;
    const isReplaced = !isForgotten && row.client_source === "dcr" && row.client_id !== found.clientId;
    if (isReplaced) await this.retire(tx, row);
    return true;
  }

  find(db: Db | Tx, upstreamId: string): Promise<Row<"oauth_configs"> | undefined> {
    return db
      .selectFrom("oauth_configs")
      .selectAll()
      .where("upstream_id", "=", upstreamId)
      .executeTakeFirst();
  }

  openSecret(row: Row<"oauth_configs">): Hidden | undefined {
    return this.open(row, "sealed_client_secret");
  }

  openKey(row: Row<"oauth_configs">): Hidden | undefined {
    return this.open(row, "sealed_private_key");
  }

  /** A secret that an administrator gave, or that came with a registration. Throws `SealFault`. */
  open(row: Row<"oauth_configs">, column: SecretColumn): Hidden | undefined {
    const sealed = row[column];
    if (!sealed) return undefined;
    return new Hidden(this.#seal.openText(sealed, contextOf(column, row.id, row.upstream_id)));
  }

  /** Undefined also when it does not open: giving a registration up must not fail for that. */
  openManagement(row: Row<"oauth_configs">): Management | undefined {
    if (!row.sealed_management) return undefined;
    try {
      const text = this.#seal.openText(row.sealed_management, managementContext(row));
      const { uri, token } = JSON.parse(text) as { uri: string; token: string };
      return { uri, token: new Hidden(token) };
    } catch (error) {
      if (error instanceof SealFault) return undefined;
      throw error;
    }
  }

  #sealManagement(row: Row<"oauth_configs">, management: Management | undefined): Buffer | null {
    if (!management) return null;
    const text = JSON.stringify({ uri: management.uri, token: management.token.reveal() });
    return this.#seal.seal(text, managementContext(row));
  }

  /** `updated_at` is the row's version as well, so two writes within a millisecond differ. */
  #later(row: Row<"oauth_configs">): number {
    return Math.max(this.#world.now().getTime(), row.updated_at + 1);
  }

  #given(id: string, upstreamId: string, definition: Definition) {
    const oauth = definition.oauth!;
    const sealed = (column: SecretColumn, given: GivenSecret | undefined) =>
      this.#sealGiven(column, id, upstreamId, given);
    return {
      issuer: null,
      redirect_uri: redirectUri(this.#settings, upstreamId, oauth.redirect),
      resource: oauth.resource ?? null,
      client_id: oauth.clientId ?? null,
      client_source: oauth.clientId ? ("given" as const) : null,
      sealed_client_secret: sealed("sealed_client_secret", definition.clientSecret),
      sealed_private_key: sealed("sealed_private_key", definition.privateKey),
      sealed_assertion: sealed("sealed_assertion", definition.assertion),
      sealed_idp_secret: sealed("sealed_idp_secret", definition.idpSecret),
      sealed_management: null,
      metadata_json: null,
      scopes_json: JSON.stringify(oauth.scopes),
    };
  }

  #sealGiven(
    column: SecretColumn,
    id: string,
    upstreamId: string,
    given: GivenSecret | undefined,
  ): Buffer | null {
    if (!(given instanceof Hidden)) return null;
    return this.#seal.seal(given.reveal(), contextOf(column, id, upstreamId));
  }
}

export const secretColumns = [
  "sealed_client_secret",
  "sealed_private_key",
  "sealed_assertion",
  "sealed_idp_secret",
] as const;

type SecretColumn = (typeof secretColumns)[number];

/** The columns of secrets that were sent back redacted. */
function keptSecrets(row: Row<"oauth_configs">, definition: Definition) {
  const { clientSecret, privateKey, assertion, idpSecret } = definition;
  return {
    ...(clientSecret === "keep" && { sealed_client_secret: row.sealed_client_secret }),
    ...(privateKey === "keep" && { sealed_private_key: row.sealed_private_key }),
    ...(assertion === "keep" && { sealed_assertion: row.sealed_assertion }),
    ...(idpSecret === "keep" && { sealed_idp_secret: row.sealed_idp_secret }),
  };
}

function isStored(given: GivenSecret | undefined, stored: Hidden | undefined): boolean {
  return given === "keep" || given?.reveal() === stored?.reveal();
}

/** What was discovered stays; how we prove ourselves there is decided anew. */
function withProof(metadata: string, oauth: OAuthSettings): string {
  const known = JSON.parse(metadata) as Metadata;
  const facts = shippedProfiles().factsOf(known.server, known.profile);
  const authMethod = givenMethod(oauth, known.server, facts);
  return JSON.stringify({ ...known, authMethod, privateKeyId: oauth.privateKeyId });
}

/** The column's name is part of it: what was sealed for one opens in no other. */
export function contextOf(column: SecretColumn, id: string, upstreamId: string): SealContext {
  return ["oauth_configs", column, id, "", "", upstreamId];
}

export function managementContext(row: Pick<Row<"oauth_configs">, "id" | "upstream_id">): SealContext {
  return ["oauth_configs", "sealed_management", row.id, "", "", row.upstream_id];
}
