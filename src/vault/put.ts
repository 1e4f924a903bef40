import { newId, type Owner } from "../base/index.ts";
import type { Row, Tx } from "../db/index.ts";
import { willBeDefault } from "./accounts.ts";
import type { NewSecret } from "./credential.ts";
import { keepAliveAt } from "./keep-alive-at.ts";
import {
  type Binding,
  bindingColumns,
  findRow,
  noteBinding,
  noteRegained,
  type VaultParts,
} from "./parts.ts";
import { disownSecret } from "./revocation.ts";
import { openSecret, sealSecret, secretOf } from "./secret.ts";

export interface PutCredential {
  owner: Owner;
  upstreamId: string;
  account: string;
  secret: NewSecret;
  /** The account (its `subject`) whose place the new one may take, because the person said so. */
  replaces?: string;
  /** What `generationOf` said when the work began; another value now means that something changed meanwhile. */
  expectGeneration?: number;
}

export interface Stored {
  id: string;
  generation: number;
}

/** How often a row may change under us before that is a bug and not a race. */
const ROUNDS = 5;

/**
 * Inserts the credential of a binding, or replaces it in place: same id, same `created_at`, generation + 1. Undefined,
 * and nothing stored, when access was lost, the generation is not the expected one, or the row holds an account that the
 * person did not agree to replace (UP-31).
 */
export async function putCredential(
  parts: VaultParts,
  tx: Tx,
  given: PutCredential,
): Promise<Stored | undefined> {
  for (let round = 0; round < ROUNDS; round++) {
    const row = await findRow(tx, given);
    if (given.expectGeneration !== undefined && (row?.generation ?? 0) !== given.expectGeneration)
      return undefined;
    if (row?.orphaned === 1 || (row && swapsUnasked(row, given))) return undefined;
    const stored = row ? await replace(parts, tx, row, given) : await insert(parts, tx, given);
    if (!stored) continue;
    await noteRegained(parts, tx, given);
    await noteBinding(parts, tx, given);
    return stored;
  }
  throw new Error("a credential kept changing while it was stored");
}

async function insert(parts: VaultParts, tx: Tx, given: PutCredential): Promise<Stored | undefined> {
  const isDefault = await willBeDefault(parts, tx, given);
  const now = parts.world.now().getTime();
  const id = newId(parts.world, "cred");
  const inserted = await tx
    .insertInto("credentials")
    .values({
      id,
      ...bindingColumns(given),
      ...secretColumns(parts, { id, ...given }, given.secret),
      replaces_subject: confirmed(given),
      is_default: isDefault ? 1 : 0,
      generation: 1,
      created_at: now,
      last_refreshed_at: null,
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return inserted.numInsertedOrUpdatedRows === 1n ? { id, generation: 1 } : undefined;
}

async function replace(
  parts: VaultParts,
  tx: Tx,
  row: Row<"credentials">,
  given: PutCredential,
): Promise<Stored | undefined> {
  const generation = row.generation + 1;
  const replaced = await tx
    .updateTable("credentials")
    .set({
      ...secretColumns(parts, { id: row.id, ...given }, given.secret),
      generation,
      replaces_subject: confirmed(given),
      last_refreshed_at: parts.world.now().getTime(),
    })
    .where("id", "=", row.id)
    .where("generation", "=", row.generation)
    .executeTakeFirst();
  if (replaced.numUpdatedRows === 0n) return undefined;
  await disownReplaced(parts, tx, row, given.secret);
  return { id: row.id, generation };
}

/** Every column that belongs to the secret, as it is right after a person gave it. */
function secretColumns(parts: VaultParts, place: Binding & { id: string }, secret: NewSecret) {
  const now = parts.world.now().getTime();
  const oauth = secret.kind === "oauth" ? secret : undefined;
  return {
    kind: secret.kind,
    status: "active" as const,
    status_reason: null,
    orphaned: 0,
    sealed: sealSecret(parts.seal, place, secretOf(secret, now)),
    subject: oauth?.subject ?? null,
    subject_name: oauth?.subjectName ?? null,
    expires_at: oauth?.expiresAt ?? null,
    scopes_json: oauth?.scopes ? JSON.stringify(oauth.scopes) : null,
    asked_scopes_json: oauth?.askedScopes ? JSON.stringify(oauth.askedScopes) : null,
    oauth_config_id: oauth?.oauthConfigId ?? null,
    refresh_holder: null,
    refresh_until: null,
    refresh_after: null,
    refresh_started_at: null,
    used_at: now,
    keep_alive_at: keepAliveAt(parts.world),
    updated_at: now,
  };
}

/** Contract section 2: the old secret is revoked only if the account differs; some providers would end the new one too. */
async function disownReplaced(
  parts: VaultParts,
  tx: Tx,
  old: Row<"credentials">,
  by: NewSecret,
): Promise<void> {
  if (!isOther(old.subject, by)) return;
  const owner: Owner = { mode: old.owner_mode, id: old.owner_id };
  const secret = openSecret(parts.seal, { id: old.id, owner, upstreamId: old.upstream_id }, old.sealed);
  if (!secret) return;
  const { id: credentialId, upstream_id: upstreamId } = old;
  const disowned = {
    credentialId,
    owner,
    upstreamId,
    oauthConfigId: old.oauth_config_id ?? undefined,
    secret,
  };
  await disownSecret(parts, tx, disowned, old.subject);
}

/** Kept for the submit; everywhere else the replacing is done with. */
function confirmed({ owner, replaces }: PutCredential): string | null {
  return owner.mode === "flow" ? (replaces ?? null) : null;
}

/** What is connected during a consent is nobody's yet: its move to the identity is what must not swap accounts. */
function swapsUnasked(row: Row<"credentials">, { owner, secret, replaces }: PutCredential): boolean {
  return owner.mode !== "flow" && isOther(row.subject, secret) && row.subject !== replaces;
}

/** Both say whose account it is, and it is not the same one. */
export function isOther(subject: string | null, secret: NewSecret): boolean {
  if (subject === null || secret.kind !== "oauth" || secret.subject === undefined) return false;
  return secret.subject !== subject;
}
