import { ProofKey } from "../base/index.ts";
import type { Row } from "../db/index.ts";
import type { Warm } from "./cache.ts";
import { isRenewable, readCredential, type Secret } from "./secret.ts";

const MARGIN_MS = 60_000;

/** An opened row with the time from which it is refreshed: a minute before expiry, less for tokens that live minutes. */
export function warmOf(row: Row<"credentials">, secret: Secret): Warm {
  const credential = readCredential(row);
  return {
    credential,
    secret,
    refreshAt: refreshAt(credential.expiresAt, secret),
    refreshAfter: row.refresh_after ?? 0,
    key: secret.kind === "oauth" && secret.proofKey ? ProofKey.open(secret.proofKey) : undefined,
  };
}

function refreshAt(expiresAt: number | undefined, secret: Secret): number {
  if (expiresAt === undefined || secret.kind !== "oauth") return Number.POSITIVE_INFINITY;
  // What cannot be renewed serves until its last moment.
  if (!isRenewable(secret)) return expiresAt;
  return expiresAt - Math.min(MARGIN_MS, Math.max(0, expiresAt - secret.issuedAt) / 3);
}
