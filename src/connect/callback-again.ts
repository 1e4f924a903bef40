import { readCookie } from "../http/index.ts";
import { type LinkData, linkPath } from "./links.ts";
import type { ConnectParts } from "./parts.ts";
import { stateCookie } from "./round-trip.ts";

/**
 * Where a browser goes that loads the way back once more, because the answer to the first time never reached it: a replica
 * died, the network was gone. Nothing is done a second time. It is sent where that answer would have sent it or, when the
 * first time came to nothing, to where it can try again. Undefined: it is not that browser, or the link has ended otherwise.
 */
export async function cameBackBefore(
  parts: ConnectParts,
  request: Request,
  state: string,
): Promise<string | undefined> {
  const { db } = parts.database;
  const trip = await db
    .selectFrom("flows")
    .select(["browser_hash", "parent_id"])
    .where("kind", "=", "state")
    .where("handle_hash", "=", parts.hash.of("state", state))
    .where("outcome", "=", "claimed")
    .executeTakeFirst();
  const browser = readCookie(request, stateCookie(parts, state));
  if (!trip?.parent_id || browser === undefined) return undefined;
  if (parts.hash.of("flow_cookie", browser) !== trip.browser_hash) return undefined;
  const link = await db
    .selectFrom("flows")
    .select(["id", "outcome", "ended_at", "data_json"])
    .where("kind", "=", "connect")
    .where("id", "=", trip.parent_id)
    .executeTakeFirst();
  if (!link || (link.ended_at !== null && link.outcome !== "connected")) return undefined;
  const { return_to = null } = JSON.parse(link.data_json) as Partial<LinkData>;
  if (return_to === null) return linkPath(link.id);
  if (link.ended_at !== null) return return_to;
  const again = new URL(return_to, parts.settings.baseUrl);
  again.searchParams.set("error", "connect_failed");
  return again.pathname + again.search;
}

/** What is kept of a link that has served, for `cameBackBefore`: a path of ours. */
export function remembered({ return_to }: LinkData): string {
  return JSON.stringify({ return_to });
}
