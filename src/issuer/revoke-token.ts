import type { ProvedClient } from "./client-authentication.ts";
import type { Grants } from "./grants.ts";
import type { IssuerParts } from "./parts.ts";

type Parts = Pick<IssuerParts, "world" | "database" | "hash" | "audit">;

/**
 * RFC 7009 §2.1: a refresh token ends its grant with all tokens, an access token ends alone. Unknown tokens and those of
 * another client change nothing, and the answer is the same.
 */
export async function revokeToken(
  parts: Parts,
  grants: Grants,
  { client, token, requestId }: { client: ProvedClient; token: string; requestId: string },
): Promise<void> {
  const clientRowId = client.row?.id;
  if (clientRowId === undefined) return;
  const hashes = [parts.hash.of("access_token", token), parts.hash.of("refresh_token", token)];
  await parts.database.transaction(async (tx) => {
    const row = await tx
      .selectFrom("tokens")
      .innerJoin("grants", "grants.id", "tokens.grant_id")
      .select(["tokens.hash", "tokens.kind", "tokens.grant_id"])
      .where("tokens.hash", "in", hashes)
      .where("grants.client_row_id", "=", clientRowId)
      .executeTakeFirst();
    if (!row) return;
    const actor = `client:${clientRowId}`;
    if (row.kind === "refresh") {
      await grants.end(tx, row.grant_id, { event: "grant.revoked", actor, requestId });
      return;
    }
    await tx.deleteFrom("tokens").where("hash", "=", row.hash).execute();
    const detail = { grant_id: row.grant_id };
    await parts.audit.append(tx, { event: "access_token.revoked", actor, requestId, detail });
    await parts.database.changes.note(tx, "grant", row.grant_id, parts.world.now().getTime());
  });
}
