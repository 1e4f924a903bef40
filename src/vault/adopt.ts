import type { Owner } from "../base/index.ts";
import type { Row, Tx } from "../db/index.ts";
import { findDefault } from "./accounts.ts";
import type { NewSecret } from "./credential.ts";
import { noteBinding, type VaultParts } from "./parts.ts";
import { putCredential } from "./put.ts";
import { disownSecret } from "./revocation.ts";
import { listOf, openSecret, type Secret } from "./secret.ts";

/**
 * Moves what was connected during a consent to the identity it was for, in the transaction of the submit. The secret is
 * sealed anew for its owner; an existing row keeps `id` and `created_at`. Returns the upstream ids that moved.
 * What cannot move (access lost, it does not open, or it would replace another account than the person was asked about) is
 * given up, and the provider is told.
 */
export async function adoptCredentials(
  parts: VaultParts,
  tx: Tx,
  flowId: string,
  owner: Owner,
): Promise<string[]> {
  const rows = await tx
    .deleteFrom("credentials")
    .where("owner_mode", "=", "flow")
    .where("owner_id", "=", flowId)
    .returningAll()
    .execute();
  const moved: string[] = [];
  for (const row of rows.sort((a, b) => (a.upstream_id < b.upstream_id ? -1 : 1))) {
    if (await move(parts, tx, row, owner)) moved.push(row.upstream_id);
    parts.world.reach("submit.4.credential_moved");
  }
  return moved;
}

async function move(parts: VaultParts, tx: Tx, row: Row<"credentials">, owner: Owner): Promise<boolean> {
  const from: Owner = { mode: "flow", id: row.owner_id };
  const place = { owner: from, upstreamId: row.upstream_id, account: row.account };
  await noteBinding(parts, tx, place);
  const secret = openSecret(parts.seal, { id: row.id, ...place }, row.sealed);
  if (!secret) {
    parts.world.log.error("credential.undecryptable", { credential: row.id, upstream: row.upstream_id });
    return false;
  }
  // Not active: the upstream changed since, and what was given then is not what it wants now.
  const stored =
    row.status === "active" &&
    (await putCredential(parts, tx, {
      ...place,
      owner,
      // Somebody who keeps several connects the one that is used when none is named.
      account: (await findDefault(tx, { owner, upstreamId: row.upstream_id }))?.account ?? row.account,
      secret: given(row, secret),
      replaces: row.replaces_subject ?? undefined,
    }));
  if (stored) return true;
  const disowned = {
    credentialId: row.id,
    owner,
    upstreamId: row.upstream_id,
    oauthConfigId: row.oauth_config_id ?? undefined,
    secret,
  };
  await disownSecret(parts, tx, disowned, row.subject);
  return false;
}

function given(row: Row<"credentials">, secret: Secret): NewSecret {
  if (secret.kind === "headers") return secret;
  return {
    kind: "oauth",
    accessToken: secret.accessToken,
    refreshToken: secret.refreshToken,
    issuer: secret.issuer,
    expiresAt: row.expires_at ?? undefined,
    scopes: listOf(row.scopes_json),
    askedScopes: listOf(row.asked_scopes_json),
    proofKey: secret.proofKey,
    subject: row.subject ?? undefined,
    subjectName: row.subject_name ?? undefined,
    oauthConfigId: row.oauth_config_id ?? "",
  };
}
