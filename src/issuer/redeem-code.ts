import { sha256 } from "../base/index.ts";
import type { Flow, Row, Tx } from "../db/index.ts";
import type { ProvedClient } from "./client-authentication.ts";
import type { CodeData } from "./code.ts";
import type { Grants } from "./grants.ts";
import { isIdentityEnabled } from "./identity-standing.ts";
import type { IssuerParts } from "./parts.ts";
import { ownResource } from "./resource.ts";
import { newPair, storePair, type TokenAnswer, tokenAnswer } from "./tokens.ts";

export interface CodePresentation {
  client: ProvedClient;
  code: string;
  verifier: string;
  redirectUri?: string;
  resource?: string;
  requestId: string;
}

export type Refused = { error: "invalid_grant" | "invalid_scope" | "invalid_target" };

type Parts = Pick<IssuerParts, "world" | "database" | "flows" | "hash" | "settings">;

const REDEEMED = "redeemed";

/**
 * Exchanges a code (OAuth 2.1 §4.1.3). The first well-formed presentation spends it, right or wrong; presenting one that
 * had succeeded ends what it gave (RFC 9700 §4.5).
 */
export async function redeemCode(
  parts: Parts,
  grants: Grants,
  presented: CodePresentation,
): Promise<TokenAnswer | Refused> {
  const handle = { handleHash: parts.hash.of("code", presented.code) };
  const answer = await parts.database.transaction<TokenAnswer | Refused>(async (tx) => {
    const flow = await parts.flows.take<CodeData>(tx, "code", handle, REDEEMED);
    if (!flow) {
      const before = await parts.flows.peek(tx, "code", handle);
      if (before.state === "ended" && before.outcome === REDEEMED && before.parentId) {
        const ending = {
          event: "grant.code_replayed",
          actor: "client",
          requestId: presented.requestId,
        } as const;
        await grants.end(tx, before.parentId, ending);
      }
      return { error: "invalid_grant" };
    }
    parts.world.reach("code.1.taken");
    const error = faultOf(parts, flow, presented);
    const grant = error === undefined ? await activate(parts, tx, flow) : undefined;
    if (grant) return issue(parts, tx, grant);
    await tx.updateTable("flows").set({ outcome: "refused" }).where("id", "=", flow.id).execute();
    const ending = { event: "grant.code_refused", actor: "client", requestId: presented.requestId } as const;
    await grants.end(tx, flow.data.grantId, ending);
    return { error: error ?? "invalid_grant" };
  });
  parts.world.reach("code.4.committed");
  return answer;
}

function faultOf(
  parts: Parts,
  { data }: Flow<CodeData>,
  presented: CodePresentation,
): Refused["error"] | undefined {
  if (data.clientIdHash !== presented.client.idHash) return "invalid_grant";
  if (presented.redirectUri !== undefined && presented.redirectUri !== data.redirectUri)
    return "invalid_grant";
  if (sha256(presented.verifier) !== data.challenge) return "invalid_grant"; // RFC 7636 §4.6
  const { resource } = presented;
  if (resource !== undefined && ownResource(resource, parts.settings) !== data.resource)
    return "invalid_target"; // RFC 8707 §2.2
  return undefined;
}

/** Undefined when the grant or the identity behind it is gone meanwhile (PK-17). */
async function activate(parts: Parts, tx: Tx, flow: Flow<CodeData>): Promise<Row<"grants"> | undefined> {
  const now = parts.world.now().getTime();
  const grant = await tx
    .updateTable("grants")
    .set({ status: "active", last_used_at: now })
    .where("id", "=", flow.data.grantId)
    .where("status", "=", "pending")
    .returningAll()
    .executeTakeFirst();
  if (!grant) return undefined;
  const subject = {
    owner: { mode: grant.owner_mode, id: grant.owner_id },
    virtualKeyId: grant.virtual_key_id,
  };
  return (await isIdentityEnabled(tx, subject, now)) ? grant : undefined;
}

/** The first access token counts from submit (contract section 4). */
async function issue(parts: Parts, tx: Tx, grant: Row<"grants">): Promise<TokenAnswer> {
  parts.world.reach("code.2.grant_active");
  const expiresAt = Math.min(grant.created_at + parts.settings.accessTokenMs, grant.ends_at);
  const pair = newPair(parts, expiresAt);
  await storePair(parts, tx, grant, pair);
  parts.world.reach("code.3.pair_stored");
  return tokenAnswer(pair, grant.scope, parts.world.now().getTime());
}
