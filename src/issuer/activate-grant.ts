import type { Row, Tx } from "../db/index.ts";
import { isIdentityEnabled } from "./identity-standing.ts";
import type { IssuerParts } from "./parts.ts";
import { newPair, storePair, type TokenAnswer, tokenAnswer } from "./tokens.ts";

type Parts = Pick<IssuerParts, "world" | "hash" | "settings">;

/** A grant whose client came for its tokens. Undefined when the grant or the identity behind it is gone meanwhile (PK-17). */
export async function activate(
  parts: Pick<Parts, "world">,
  tx: Tx,
  grantId: string,
): Promise<Row<"grants"> | undefined> {
  const now = parts.world.now().getTime();
  const grant = await tx
    .updateTable("grants")
    .set({ status: "active", last_used_at: now })
    .where("id", "=", grantId)
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
export async function issue(parts: Parts, tx: Tx, grant: Row<"grants">): Promise<TokenAnswer> {
  parts.world.reach("code.2.grant_active");
  const expiresAt = Math.min(grant.created_at + parts.settings.accessTokenMs, grant.ends_at);
  const pair = newPair(parts, expiresAt);
  await storePair(parts, tx, grant, pair);
  parts.world.reach("code.3.pair_stored");
  return tokenAnswer(pair, grant.scope, parts.world.now().getTime());
}
