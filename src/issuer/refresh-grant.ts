import type { SealContext } from "../base/index.ts";
import type { Row, Tx } from "../db/index.ts";
import type { ProvedClient } from "./client-authentication.ts";
import type { Grants } from "./grants.ts";
import { isIdentityEnabled } from "./identity-standing.ts";
import type { IssuerParts } from "./parts.ts";
import type { Refused } from "./refusal.ts";
import { ownResource } from "./resource.ts";
import { isWithin } from "./scope.ts";
import { newPair, type Pair, storePair, type TokenAnswer, tokenAnswer } from "./tokens.ts";

/** How long a lost answer can be asked for again. */
export const GRACE_MS = 30_000;

export interface RefreshPresentation {
  client: ProvedClient;
  refreshToken: string;
  scope?: string;
  resource?: string;
  requestId: string;
}

type Parts = Pick<IssuerParts, "world" | "database" | "hash" | "seal" | "settings">;

/**
 * Exchanges a refresh token for its successor (OAuth 2.1 §4.3). For 30 seconds, and only until the successor refresh
 * token is first presented, a repeated token gets the same successor: a lost answer logs nobody out. Later it is reuse
 * and ends the grant (RFC 9700 §4.14.2).
 */
export async function refreshGrant(
  parts: Parts,
  grants: Grants,
  presented: RefreshPresentation,
): Promise<TokenAnswer | Refused> {
  const hash = parts.hash.of("refresh_token", presented.refreshToken);
  const now = parts.world.now().getTime();
  const answer = await parts.database.transaction<TokenAnswer | Refused>(async (tx) => {
    const known = await tokenRow(tx, hash);
    // The lock on the grant puts all refreshes and the end of a grant into one order.
    const grant = known && (await lockGrant(tx, known.grant_id));
    parts.world.reach("rotate.1.grant_locked");
    const token = grant && (await tokenRow(tx, hash));
    if (!token || grant.client_row_id !== presented.client.row?.id) return { error: "invalid_grant" };
    if (!grants.isAlive(grant, now) || !(await isUsable(tx, grant, now))) return { error: "invalid_grant" };
    const fault = faultOf(parts, grant, presented);
    if (fault !== undefined) return { error: fault };
    if (token.rotated_at === null) return rotate(parts, tx, grant, hash, token.predecessor_hash, now);
    const repeated = repeatedPair(parts, grant, token, now);
    if (repeated) return tokenAnswer(repeated, grant.scope, now);
    await grants.end(tx, grant.id, {
      event: "grant.refresh_reused",
      actor: `client:${grant.client_row_id}`,
      requestId: presented.requestId,
    });
    return { error: "invalid_grant" };
  });
  parts.world.reach("rotate.6.committed");
  return answer;
}

function tokenRow(tx: Tx, hash: string): Promise<Row<"tokens"> | undefined> {
  return tx
    .selectFrom("tokens")
    .selectAll()
    .where("hash", "=", hash)
    .where("kind", "=", "refresh")
    .executeTakeFirst();
}

/** A write that changes nothing, because it locks on both databases. */
function lockGrant(tx: Tx, id: string): Promise<Row<"grants"> | undefined> {
  return tx
    .updateTable("grants")
    .set({ status: "active" })
    .where("id", "=", id)
    .where("status", "=", "active")
    .returningAll()
    .executeTakeFirst();
}

function isUsable(tx: Tx, grant: Row<"grants">, now: number): Promise<boolean> {
  const owner = { mode: grant.owner_mode, id: grant.owner_id };
  return isIdentityEnabled(tx, { owner, virtualKeyId: grant.virtual_key_id }, now);
}

function faultOf(
  parts: Parts,
  grant: Row<"grants">,
  presented: RefreshPresentation,
): Refused["error"] | undefined {
  const { scope, resource } = presented;
  if (scope !== undefined && !isWithin(scope, grant.scope)) return "invalid_scope"; // RFC 6749 §6
  if (resource !== undefined && ownResource(resource, parts.settings) !== grant.resource)
    return "invalid_target";
  return undefined;
}

async function rotate(
  parts: Parts,
  tx: Tx,
  grant: Row<"grants">,
  hash: string,
  predecessor: string | null,
  now: number,
): Promise<TokenAnswer | Refused> {
  const pair = newPair(parts, Math.min(now + parts.settings.accessTokenMs, grant.ends_at));
  const sealed = parts.seal.seal(JSON.stringify(pair), sealContext(grant, hash));
  const won = await tx
    .updateTable("tokens")
    .set({ rotated_at: now, sealed_successor: sealed })
    .where("hash", "=", hash)
    .where("rotated_at", "is", null)
    .returning("hash")
    .executeTakeFirst();
  if (!won) return { error: "invalid_grant" };
  parts.world.reach("rotate.2.token_retired");
  await storePair(parts, tx, grant, pair, hash);
  parts.world.reach("rotate.3.pair_stored");
  if (predecessor !== null) {
    // This token was a successor and has now been presented: the one before it is reuse from here on.
    const used = { successor_used_at: now, sealed_successor: null };
    await tx.updateTable("tokens").set(used).where("hash", "=", predecessor).execute();
    parts.world.reach("rotate.4.predecessor_closed");
  }
  const idleUntil = Math.min(now + parts.settings.grantIdleMs, grant.ends_at);
  await tx
    .updateTable("grants")
    .set({ last_used_at: now, idle_until: idleUntil })
    .where("id", "=", grant.id)
    .execute();
  parts.world.reach("rotate.5.grant_touched");
  return tokenAnswer(pair, grant.scope, now);
}

function repeatedPair(
  parts: Parts,
  grant: Row<"grants">,
  token: Row<"tokens">,
  now: number,
): Pair | undefined {
  const { rotated_at: rotatedAt, sealed_successor: sealed } = token;
  if (rotatedAt === null || sealed === null || token.successor_used_at !== null) return undefined;
  if (now - rotatedAt > GRACE_MS) return undefined;
  return JSON.parse(parts.seal.openText(sealed, sealContext(grant, token.hash)));
}

function sealContext(grant: Row<"grants">, hash: string): SealContext {
  return ["tokens", "sealed_successor", hash, grant.owner_mode, grant.owner_id, ""];
}
