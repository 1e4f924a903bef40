import type { Row, Tx } from "../db/index.ts";
import { noteBinding, type VaultParts } from "./parts.ts";
import { openSecret } from "./secret.ts";

export interface HeaderDemand {
  upstreamId: string;
  /** Every name a row must have a value for. */
  names: readonly string[];
}

const REASON = "headers_changed";

/**
 * Contract section 2, reconciliation: header rows that lack a required name turn `needs_update`, with the reason
 * `headers_changed`; rows that waited only for that and have every name are `active` again. In the caller's transaction.
 */
export async function requireHeaders(parts: VaultParts, tx: Tx, demand: HeaderDemand): Promise<void> {
  const { upstreamId } = demand;
  const required = demand.names.map((name) => name.toLowerCase());
  const rows = await tx
    .selectFrom("credentials")
    .selectAll()
    .where("upstream_id", "=", upstreamId)
    .where("kind", "=", "headers")
    .execute();
  for (const row of rows) {
    const held = headerNames(parts, row);
    const complete = held !== undefined && required.every((name) => held.has(name));
    if (!complete && row.status === "active") await setStatus(parts, tx, row, "needs_update");
    if (complete && row.status === "needs_update" && row.status_reason === REASON)
      await setStatus(parts, tx, row, "active");
  }
}

/** The names, in lower case, that a header row holds; undefined for other rows and when it does not open. */
export function headerNames(parts: VaultParts, row: Row<"credentials">): ReadonlySet<string> | undefined {
  const owner = { mode: row.owner_mode, id: row.owner_id };
  const secret = openSecret(parts.seal, { id: row.id, owner, upstreamId: row.upstream_id }, row.sealed);
  if (secret?.kind !== "headers") return undefined;
  return new Set(Object.keys(secret.headers).map((name) => name.toLowerCase()));
}

async function setStatus(
  parts: VaultParts,
  tx: Tx,
  row: Row<"credentials">,
  status: "active" | "needs_update",
): Promise<void> {
  await tx
    .updateTable("credentials")
    .set({
      status,
      status_reason: status === "active" ? null : REASON,
      generation: row.generation + 1,
      updated_at: parts.world.now().getTime(),
    })
    .where("id", "=", row.id)
    .where("generation", "=", row.generation)
    .execute();
  const owner = { mode: row.owner_mode, id: row.owner_id };
  await noteBinding(parts, tx, { owner, upstreamId: row.upstream_id, account: row.account });
}
