import { newSecret, sha256 } from "../base/index.ts";
import type { Flow, FlowData } from "../db/index.ts";
import { clearCookie, cookie, cookieName, readCookie } from "../http/index.ts";
import type { SsoProvider } from "./config.ts";
import type { SsoParts } from "./parts.ts";
import { otherBrowser, staleAnswer, strayAnswer } from "./refusals.ts";

/** Why somebody goes to a provider, and where they go afterwards. */
export type Errand =
  | { purpose: "sign_in"; returnTo: string; again?: true }
  /** Whose account gets a further identity, and the session in which they asked for it. */
  | { purpose: "link"; returnTo: string; userId: string; sessionId: string };

/** What was true when the browser left; the answer is held against it. */
export interface TripData extends FlowData {
  provider: string;
  errand: Errand;
}

/** Where the browser goes now, and what it shows us when it comes back. */
export interface Departure {
  url: string;
  cookie: [string, string];
}

const TRIP_MS = 10 * 60_000;

/** One round trip: single-use, ten minutes, of this browser. `handle`: what the answer brings back (`state`, RelayState). */
export async function startTrip<D extends TripData>(
  parts: SsoParts,
  handle: string,
  trip: { data: D; secret?: Record<string, string> },
): Promise<[string, string]> {
  const browser = newSecret(parts.world);
  await parts.flows.start(parts.database.db, {
    kind: "sign_in",
    handleHash: parts.hash.of("sign_in", handle),
    browserHash: parts.hash.of("flow_cookie", browser),
    ...trip,
    ttlMs: TRIP_MS,
  });
  return cookie(tripCookie(parts, handle), browser, TRIP_MS / 1000, parts.settings);
}

/**
 * The trip that an answer belongs to, consumed. The browser is asked first: what was started elsewhere stays unclaimed
 * (attack CB-24). Throws 400, 403, 410.
 */
export async function claimTrip<D extends TripData>(
  parts: SsoParts,
  request: Request,
  provider: SsoProvider,
  handle: string,
): Promise<Flow<D>> {
  const key = { handleHash: parts.hash.of("sign_in", handle) };
  const found = await parts.flows.peek<D>(parts.database.db, "sign_in", key);
  if (found.state === "unknown") throw strayAnswer();
  if (found.state !== "pending") throw staleAnswer();
  const value = readCookie(request, tripCookie(parts, handle));
  if (value === undefined || parts.hash.of("flow_cookie", value) !== found.flow.browserHash)
    throw otherBrowser();
  // The address is part of the answer: another provider's cannot be brought to this one's door.
  if (found.flow.data.provider !== provider.id) throw strayAnswer();
  const trip = await parts.database.transaction((tx) => parts.flows.take<D>(tx, "sign_in", key, "claimed"));
  if (!trip) throw staleAnswer();
  return trip;
}

/** One cookie per trip, so that two tabs do not disturb each other. */
function tripCookie(parts: SsoParts, handle: string): string {
  return cookieName("sign_in", parts.settings, sha256(handle).slice(0, 16));
}

export function endTripCookie(parts: SsoParts, handle: string): [string, string] {
  return clearCookie(tripCookie(parts, handle), parts.settings);
}
