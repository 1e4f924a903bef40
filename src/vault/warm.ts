import { ProofKey, type World } from "../base/index.ts";
import type { Row } from "../db/index.ts";
import type { Warm } from "./cache.ts";
import { isRenewable, readCredential, type Secret } from "./secret.ts";

const MARGIN_MS = 60_000;
/** Over how long tokens that were issued in the same second are refreshed ahead. */
const LONGEST_SPREAD_MS = 10 * 60_000;
/** A clock that differs from the provider's by so much makes nobody sign in again. */
const SKEW_MS = 60_000;

/**
 * An opened row with the times from which it is refreshed: for a call a minute before expiry, less for tokens that live
 * minutes; ahead of calls at a random moment of the sixth of its life before that, ten minutes at most.
 */
export function warmOf(row: Row<"credentials">, secret: Secret, { random }: Pick<World, "random">): Warm {
  const credential = readCredential(row);
  const forCalls = refreshAt(credential.expiresAt, secret);
  return {
    credential,
    secret,
    refreshAt: forCalls,
    aheadAt: isRenewable(secret)
      ? forCalls - spread(credential.expiresAt, secret, random)
      : Number.POSITIVE_INFINITY,
    refreshAfter: row.refresh_after ?? 0,
    firstUsedAt: 0,
    usedAt: 0,
    notedUseAt: row.used_at ?? 0,
    key: secret.kind === "oauth" && secret.proofKey ? ProofKey.open(secret.proofKey) : undefined,
  };
}

function refreshAt(expiresAt: number | undefined, secret: Secret): number {
  if (expiresAt === undefined || secret.kind !== "oauth") return Number.POSITIVE_INFINITY;
  // What cannot be renewed serves until the upstream refuses it: a person has to come, and the clocks may differ.
  if (!isRenewable(secret)) return expiresAt + SKEW_MS;
  return expiresAt - Math.min(MARGIN_MS, life(expiresAt, secret.issuedAt) / 3);
}

function spread(expiresAt: number | undefined, secret: Secret, random: World["random"]): number {
  if (expiresAt === undefined || secret.kind !== "oauth") return 0;
  const [high = 0, low = 0] = random(2);
  return (Math.min(LONGEST_SPREAD_MS, life(expiresAt, secret.issuedAt) / 6) * (high * 256 + low)) / 65_536;
}

function life(expiresAt: number, issuedAt: number): number {
  return Math.max(0, expiresAt - issuedAt);
}
