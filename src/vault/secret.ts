import { Hidden, type Owner, type Seal, SealFault } from "../base/index.ts";
import type { Row, SealedColumn } from "../db/index.ts";
import type { Credential, NewSecret, OwnGrant } from "./credential.ts";

/** An opened secret, in memory only. `issuer`: whose token it is; it is sent to no other. */
export type Secret =
  | {
      kind: "oauth";
      accessToken: Hidden;
      refreshToken?: Hidden;
      issuer?: string;
      issuedAt: number;
      /** Set: a new one is obtained by ourselves. */
      grant?: OwnGrant;
      /** Set: the tokens are bound to this key (RFC 9449). */
      proofKey?: Hidden;
      /** The refresh token before this one, kept until this one has worked. */
      previous?: { refreshToken: Hidden; proofKey?: Hidden };
    }
  | { kind: "headers"; headers: Readonly<Record<string, Hidden>> };

/** What a ciphertext belongs to (attack rule R11): it opens in no other row, for no other owner or upstream. */
interface Place {
  id: string;
  owner: Owner;
  upstreamId: string;
}

export function sealSecret(seal: Seal, place: Place, secret: Secret): Buffer {
  return seal.seal(JSON.stringify(plain(secret)), context(place));
}

/** Undefined when the stored value does not open; `fault` hears why. */
export function openSecret(
  seal: Seal,
  place: Place,
  sealed: Uint8Array,
  fault?: (reason: SealFault["reason"]) => void,
): Secret | undefined {
  try {
    return parse(JSON.parse(seal.openText(sealed, context(place))));
  } catch (error) {
    if (!(error instanceof SealFault)) throw error;
    fault?.(error.reason);
    return undefined;
  }
}

/** For a rotation of the keys: what `context` says, from a row. */
export const vaultSealedColumns: readonly SealedColumn[] = [
  {
    table: "credentials",
    column: "sealed",
    key: "id",
    reads: ["owner_mode", "owner_id", "upstream_id"],
    context: (row) => ["credentials", "sealed", row.id!, row.owner_mode!, row.owner_id!, row.upstream_id!],
  },
];

export function secretOf(given: NewSecret, issuedAt: number): Secret {
  if (given.kind === "headers") return { kind: "headers", headers: given.headers };
  const { accessToken, refreshToken, issuer, grant, proofKey } = given;
  return { kind: "oauth", accessToken, refreshToken, issuer, issuedAt, grant, proofKey };
}

/** Whether a new token can be had without a person. */
export function isRenewable(secret: Secret): boolean {
  return secret.kind === "oauth" && (secret.refreshToken !== undefined || secret.grant !== undefined);
}

/** The credential of a row, without its secret. */
export function readCredential(row: Omit<Row<"credentials">, "sealed">): Credential {
  return {
    id: row.id,
    kind: row.kind,
    owner: { mode: row.owner_mode, id: row.owner_id },
    upstreamId: row.upstream_id,
    account: row.account,
    status: row.status,
    statusReason: row.status_reason ?? undefined,
    orphaned: row.orphaned === 1,
    generation: row.generation,
    expiresAt: row.expires_at ?? undefined,
    scopes: listOf(row.scopes_json),
    askedScopes: listOf(row.asked_scopes_json),
    wantedScopes: listOf(row.wanted_scopes_json),
    subject: row.subject ?? undefined,
    subjectName: row.subject_name ?? undefined,
    oauthConfigId: row.oauth_config_id ?? undefined,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    lastRefreshedAt: row.last_refreshed_at ?? undefined,
  };
}

/** A JSON column that holds a list of texts. */
export function listOf(column: string | null): string[] | undefined {
  return column === null ? undefined : (JSON.parse(column) as string[]);
}

function context({ id, owner, upstreamId }: Place): [string, ...string[]] {
  return ["credentials", "sealed", id, owner.mode, owner.id, upstreamId];
}

interface PlainOAuth {
  kind: "oauth";
  access: string;
  refresh?: string;
  issuer?: string;
  issued_at: number;
  grant?: OwnGrant;
  proof_key?: string;
  previous?: { refresh: string; proof_key?: string };
}

interface PlainHeaders {
  kind: "headers";
  headers: Record<string, string>;
}

function plain(secret: Secret): PlainOAuth | PlainHeaders {
  if (secret.kind === "headers") {
    const headers = Object.entries(secret.headers).map(([name, value]) => [name, value.reveal()]);
    return { kind: "headers", headers: Object.fromEntries(headers) };
  }
  return {
    kind: "oauth",
    access: secret.accessToken.reveal(),
    refresh: secret.refreshToken?.reveal(),
    issuer: secret.issuer,
    issued_at: secret.issuedAt,
    grant: secret.grant,
    proof_key: secret.proofKey?.reveal(),
    previous: secret.previous && {
      refresh: secret.previous.refreshToken.reveal(),
      proof_key: secret.previous.proofKey?.reveal(),
    },
  };
}

function parse(value: PlainOAuth | PlainHeaders): Secret {
  if (value.kind === "headers") {
    const headers = Object.entries(value.headers).map(([name, text]) => [name, new Hidden(text)]);
    return { kind: "headers", headers: Object.fromEntries(headers) };
  }
  return {
    kind: "oauth",
    accessToken: new Hidden(value.access),
    refreshToken: hidden(value.refresh),
    issuer: value.issuer,
    issuedAt: value.issued_at,
    grant: value.grant,
    proofKey: hidden(value.proof_key),
    previous: value.previous && {
      refreshToken: new Hidden(value.previous.refresh),
      proofKey: hidden(value.previous.proof_key),
    },
  };
}

function hidden(text: string | undefined): Hidden | undefined {
  return text === undefined ? undefined : new Hidden(text);
}
