import { newSecret } from "../base/index.ts";
import type { Row, Tx } from "../db/index.ts";
import { json } from "../http/index.ts";
import type { IssuerParts } from "./parts.ts";

/** RFC 6749 §5.1. */
export interface TokenAnswer {
  access_token: string;
  token_type: "Bearer";
  /** Seconds. */
  expires_in: number;
  refresh_token?: string;
  scope: string;
  /** RFC 8693 §2.2.1. */
  issued_token_type?: string;
}

/** An access token and, where grants can be refreshed, a refresh token; `expiresAt` is the access token's, milliseconds. */
export interface Pair {
  access: string;
  refresh?: string;
  expiresAt: number;
}

type Parts = Pick<IssuerParts, "world" | "hash" | "settings">;

export function newPair(parts: Parts, expiresAt: number): Pair {
  const refresh = parts.settings.grantMaxMs > 0 ? newSecret(parts.world, "pstr_") : undefined;
  return { access: newSecret(parts.world, "pst_"), refresh, expiresAt };
}

/** Only keyed hashes are stored. `predecessor`: the hash of the refresh token this pair replaces. */
export async function storePair(
  parts: Parts,
  tx: Tx,
  grant: Row<"grants">,
  pair: Pair,
  predecessor?: string,
): Promise<void> {
  const now = parts.world.now().getTime();
  const row = (hash: string, kind: "access" | "refresh", expiresAt: number) => ({
    hash,
    grant_id: grant.id,
    kind,
    created_at: now,
    expires_at: expiresAt,
    rotated_at: null,
    successor_used_at: null,
    predecessor_hash: predecessor ?? null,
    sealed_successor: null,
  });
  const rows = [row(parts.hash.of("access_token", pair.access), "access", pair.expiresAt)];
  if (pair.refresh !== undefined) {
    rows.push(row(parts.hash.of("refresh_token", pair.refresh), "refresh", grant.ends_at));
  }
  await tx.insertInto("tokens").values(rows).execute();
}

export function tokenAnswer(pair: Pair, scope: string, now: number): TokenAnswer {
  return {
    access_token: pair.access,
    token_type: "Bearer",
    expires_in: Math.max(0, Math.floor((pair.expiresAt - now) / 1000)),
    ...(pair.refresh === undefined ? {} : { refresh_token: pair.refresh }),
    scope,
  };
}

/** RFC 6749 §5.1: never cached. */
export function tokenResponse(answer: TokenAnswer): Response {
  return json(answer, 200, { "cache-control": "no-store", pragma: "no-cache" });
}
