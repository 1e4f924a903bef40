import { sha256 } from "../base/index.ts";
import type { Flow } from "../db/index.ts";
import { activate, issue } from "./activate-grant.ts";
import type { ProvedClient } from "./client-authentication.ts";
import type { CodeData } from "./code.ts";
import type { Grants } from "./grants.ts";
import type { IssuerParts } from "./parts.ts";
import type { Refused } from "./refusal.ts";
import { ownResource } from "./resource.ts";
import type { TokenAnswer } from "./tokens.ts";

export interface CodePresentation {
  client: ProvedClient;
  code: string;
  verifier: string;
  redirectUri?: string;
  resource?: string;
  requestId: string;
}

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
    const grant = error === undefined ? await activate(parts, tx, flow.data.grantId) : undefined;
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
