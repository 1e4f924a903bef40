import { inBatches } from "../db/index.ts";
import { releaseAbandoned } from "./held.ts";
import type { VaultParts } from "./parts.ts";
import { findAbandoned, findOrphaned, removeCredential, removeOwner, SWEEP_ROWS } from "./removal.ts";

/** So long access may come back and find everything as it was. */
const ORPHAN_MS = 30 * 24 * 60 * 60 * 1000;

/** What was connected during consents that are over, and what nobody confirmed in time. Safe on several replicas. */
export async function dropAbandoned(parts: VaultParts): Promise<void> {
  await inBatches(() => releaseAbandoned(parts, SWEEP_ROWS), SWEEP_ROWS);
  await inBatches(async () => {
    const ids = await findAbandoned(parts);
    for (const id of ids)
      await parts.database.transaction((tx) => removeOwner(parts, tx, { mode: "flow", id }));
    return ids.length;
  }, SWEEP_ROWS);
}

/** What its owner has had no access to for 30 days is given up, and the provider told. Safe on several replicas. */
export async function dropOrphaned(parts: VaultParts): Promise<void> {
  const since = parts.world.now().getTime() - ORPHAN_MS;
  await inBatches(async () => {
    const ids = await findOrphaned(parts, since);
    for (const id of ids) {
      const removed = await parts.database.transaction((tx) => removeCredential(parts, tx, id, since));
      if (removed) parts.world.log.info("credential.revoked", { credential: id, reason: "orphaned" });
    }
    return ids.length;
  }, SWEEP_ROWS);
}
