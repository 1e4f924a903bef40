import type { Audit } from "../audit/index.ts";
import { Problem, type World } from "../base/index.ts";
import type { Database, Row } from "../db/index.ts";
import type { OAuthRecords, RecordedOAuth } from "./oauth-records.ts";

/**
 * `done`: something else is recorded than the client that was refused. `later`: not known yet, or the server could not be
 * asked. `refused`: there is nothing to register again, or it was done a moment ago and is refused as well.
 */
export type RegisteredAgain = "done" | "later" | "refused";

export interface RegisterAgainParts {
  world: World;
  database: Database;
  audit?: Pick<Audit, "append">;
}

export interface RefusedRegistration {
  /** What was recorded when it was refused; undefined: nothing usable is, because its secret has ended. */
  version: number | undefined;
  /** Discovery and registration at this issuer and no other (network). Throws `Problem`. */
  examine(issuer: string): Promise<RecordedOAuth>;
}

/** Once in this time, however many credentials and replicas find the client refused. */
const WINDOW_MS = 10 * 60_000;
/** After a failure to reach the server. */
const RETRY_MS = 60_000;
/** What an administrator has to mend. */
const FINAL = new Set(["client_registration_refused", "client_registration_required", "issuer_changed"]);
/** How long a registration of another replica is waited for. */
const WAIT_MS = 5_000;
const LOOK_MS = 250;

/**
 * Registers the gateway anew where it had registered itself (RFC 7591, client documents) and is not known any more. The
 * issuer stays the same: another one needs an administrator (R9).
 */
export async function registerAgain(
  parts: RegisterAgainParts,
  records: OAuthRecords,
  upstreamId: string,
  { version, examine }: RefusedRegistration,
): Promise<RegisteredAgain> {
  const row = await records.find(parts.database.db, upstreamId);
  if (!row || row.issuer === null || row.client_source === null || row.client_source === "given")
    return "refused";
  if (version !== undefined && row.updated_at !== version) return "done";
  if (!(await claim(parts, row))) return awaitOther(parts, records, row);
  try {
    const found = await examine(row.issuer);
    return await parts.database.transaction<RegisteredAgain>(async (tx) => {
      // Not stored: an administrator changed it meanwhile, which is as good.
      if (!(await records.record(tx, row, found, { isForgotten: true }))) return "done";
      const detail = { issuer: found.issuer, client_source: found.clientSource };
      await parts.audit?.append(tx, {
        event: "upstream.registered_again",
        actor: "system",
        upstreamId,
        detail,
      });
      parts.world.log.info("upstream.registered_again", { upstream: upstreamId, ...detail });
      return "done";
    });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    parts.world.log.warn("upstream.registration_failed", { upstream: upstreamId, code: error.code });
    await claimUntil(parts, row, parts.world.now().getTime() - WINDOW_MS + RETRY_MS);
    return FINAL.has(error.code) ? "refused" : "later";
  }
}

/** One statement decides who registers: of all replicas one, and not again before the window has passed. */
async function claim({ database, world }: RegisterAgainParts, row: Row<"oauth_configs">): Promise<boolean> {
  const now = world.now().getTime();
  const claimed = await database.db
    .updateTable("oauth_configs")
    // Not before the last change: what is recorded later is the result.
    .set({ registered_again_at: Math.max(now, row.updated_at) })
    .where("id", "=", row.id)
    .where("updated_at", "=", row.updated_at)
    .where((where) =>
      where.or([
        where("registered_again_at", "is", null),
        where("registered_again_at", "<=", now - WINDOW_MS),
        // A clock that has jumped back since.
        where("registered_again_at", ">", now + WINDOW_MS),
      ]),
    )
    .executeTakeFirst();
  return claimed.numUpdatedRows > 0n;
}

async function claimUntil(
  { database }: RegisterAgainParts,
  { id, updated_at }: Row<"oauth_configs">,
  at: number,
): Promise<void> {
  await database.db
    .updateTable("oauth_configs")
    .set({ registered_again_at: at })
    .where("id", "=", id)
    .where("updated_at", "=", updated_at)
    .execute();
}

/** Another replica registers now, or somebody did within the window and this client is the result. */
async function awaitOther(
  { database, world }: RegisterAgainParts,
  records: OAuthRecords,
  { upstream_id, updated_at, registered_again_at }: Row<"oauth_configs">,
): Promise<RegisteredAgain> {
  // The registration is the newer of the two: it was recorded after it was begun.
  if (registered_again_at !== null && registered_again_at < updated_at) return "refused";
  const until = performance.now() + WAIT_MS;
  while (performance.now() < until) {
    const row = await records.find(database.db, upstream_id);
    if (row?.updated_at !== updated_at) return "done";
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  world.log.info("upstream.registration_awaited", { upstream: upstream_id });
  return "later";
}
