import type { Hidden } from "../base/index.ts";
import type { NewRow, Tx } from "../db/index.ts";
import type { Credential } from "./credential.ts";
import { keepAliveAt } from "./keep-alive-at.ts";
import { findById, findRow, noteBinding, noteRegained, type VaultParts } from "./parts.ts";
import type { OAuthSecret } from "./redeem.ts";
import { disownSecret } from "./revocation.ts";
import { openSecret, sealSecret } from "./secret.ts";
import type { Token } from "./token-answer.ts";

/** How often the row may change under a late answer before it is given up. */
const LATE_ROUNDS = 5;

/** What a provider answered to the refresh of a credential, on its way into the store. */
export interface Refreshment {
  credential: Credential;
  /** What the row held when the request went out. */
  old: OAuthSecret;
  token: Token;
  holder: string;
  /** The refresh token that was taken, where it was not the newest one. */
  spent?: Hidden;
}

type LateColumns = Partial<NewRow<"credentials">> & { sealed: Uint8Array };

/** Stores the new pair, and the refresh token before it, in one transaction; before anybody uses it. */
export async function storeRefreshed(parts: VaultParts, refreshment: Refreshment): Promise<void> {
  const { credential, holder, token } = refreshment;
  const secret = renewed(parts, refreshment);
  const now = secret.issuedAt;
  const columns = {
    sealed: sealSecret(parts.seal, credential, secret),
    expires_at: token.expiresAt ?? null,
    ...(token.scopes ? { scopes_json: JSON.stringify(token.scopes) } : {}),
    status_reason: null,
    refresh_holder: null,
    refresh_until: null,
    refresh_after: null,
    refresh_started_at: null,
    keep_alive_at: keepAliveAt(parts.world),
    last_refreshed_at: now,
    updated_at: now,
  };
  await parts.database.transaction(async (tx) => {
    const stored = await tx
      .updateTable("credentials")
      .set({ ...columns, generation: credential.generation + 1 })
      .where("id", "=", credential.id)
      .where("generation", "=", credential.generation)
      .where("status", "=", "active")
      .where("refresh_holder", "=", holder)
      .executeTakeFirst();
    parts.world.reach("refresh.4.credential_stored");
    if (stored.numUpdatedRows > 0n) return noteBinding(parts, tx, credential);
    await storeLate(parts, tx, refreshment, columns, secret);
  });
  parts.world.reach("refresh.5.committed");
}

function renewed(parts: VaultParts, { old, token, spent }: Refreshment): OAuthSecret {
  const sent = spent ?? old.refreshToken;
  // RFC 6749 §6: without a new refresh token the old one stays.
  const refreshToken = token.refreshToken ?? sent;
  const isRotated = sent !== undefined && refreshToken?.reveal() !== sent.reveal();
  const { proofKey } = spent ? (old.previous ?? old) : old;
  return {
    ...old,
    accessToken: token.accessToken,
    refreshToken,
    proofKey: token.proofKey,
    issuedAt: parts.world.now().getTime(),
    previous: isRotated ? { refreshToken: sent, proofKey } : undefined,
  };
}

/**
 * The row moved while we waited. One that still holds the refresh token we spent takes the answer, whatever became of
 * its standing: nobody may use an orphaned row, but when access returns it must not hold a dead token (ID-23). One that
 * was replaced keeps what it has, which may share our grant. One that is gone wants nothing any more (ID-27).
 */
async function storeLate(
  parts: VaultParts,
  tx: Tx,
  { credential, old }: Refreshment,
  columns: LateColumns,
  secret: OAuthSecret,
): Promise<void> {
  for (let round = 0; round < LATE_ROUNDS; round++) {
    const row = (await findById(tx, credential.id)) ?? (await findRow(tx, credential));
    if (!row) break;
    if (row.id !== credential.id) return;
    const held = openSecret(parts.seal, credential, row.sealed);
    if (held?.kind !== "oauth" || !holdsSame(held, old)) return;
    // Refused to another replica, while we had the answer and could not store it: there is nothing to consent to again.
    const isOvertaken = row.status === "needs_reauth" && row.status_reason?.startsWith("refresh_");
    const standing = isOvertaken ? { status: "active" as const } : { status_reason: row.status_reason };
    const stored = await tx
      .updateTable("credentials")
      .set({ ...columns, ...standing, generation: row.generation + 1 })
      .where("id", "=", row.id)
      .where("generation", "=", row.generation)
      .where("status", "=", row.status)
      .executeTakeFirst();
    if (stored.numUpdatedRows === 0n) continue;
    if (isOvertaken) await noteRegained(parts, tx, credential);
    // It may have another label by now.
    return noteBinding(parts, tx, { ...credential, account: row.account });
  }
  const { id: credentialId, owner, upstreamId, oauthConfigId } = credential;
  const disowned = { credentialId, owner, upstreamId, oauthConfigId, secret };
  await disownSecret(parts, tx, disowned, credential.subject ?? null);
}

function holdsSame(held: OAuthSecret, spent: OAuthSecret): boolean {
  return (
    held.accessToken.reveal() === spent.accessToken.reveal() &&
    held.refreshToken?.reveal() === spent.refreshToken?.reveal()
  );
}
