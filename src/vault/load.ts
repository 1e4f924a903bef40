import { findDefault, type Place } from "./accounts.ts";
import type { Warm } from "./cache.ts";
import type { NeedsUserReason } from "./credential.ts";
import { findRow, type VaultParts } from "./parts.ts";
import { openSecret, readCredential } from "./secret.ts";
import { failCredential } from "./standing.ts";
import { warmOf } from "./warm.ts";

export type Loaded = { warm: Warm; reason?: undefined } | { warm?: undefined; reason: NeedsUserReason };

/** Reads and opens what an owner has under a label, or the default where none is given. */
export async function load(
  parts: VaultParts,
  { owner, upstreamId, account }: Place & { account?: string },
): Promise<Loaded> {
  const { db } = parts.database;
  const row = await (account === undefined
    ? findDefault(db, { owner, upstreamId })
    : findRow(db, { owner, upstreamId, account }));
  if (!row) return { reason: "missing" };
  if (row.orphaned === 1) return { reason: "orphaned" };
  if (row.status !== "active") return { reason: row.status };
  let fault: string | undefined;
  const secret = openSecret(parts.seal, { id: row.id, owner, upstreamId }, row.sealed, (reason) => {
    fault = reason;
  });
  if (secret?.kind === row.kind) return { warm: warmOf(row, secret, parts.world) };
  // Another replica may have made a data key a moment ago.
  if (fault === "unknown_key" && (await parts.seal.renew()))
    return load(parts, { owner, upstreamId, account });
  // Attack rule R11: an alarm and a person who connects again, never a crash and never another value.
  parts.world.log.error("credential.undecryptable", {
    credential: row.id,
    upstream: row.upstream_id,
    fault,
  });
  // A key that is missing from the configuration may come back; only what is damaged is given up.
  if (fault !== "unknown_key") await failCredential(parts, readCredential(row), "undecryptable");
  return { reason: row.kind === "oauth" ? "needs_reauth" : "needs_update" };
}
