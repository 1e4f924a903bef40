import * as oauth from "oauth4webapi";
import { Hidden, newSecret, OutboundError, oauthOptions, Problem, ProofKey, proving } from "../base/index.ts";
import type { Flow } from "../db/index.ts";
import { cookie, cookieName, readCookie } from "../http/index.ts";
import type { Upstream, UpstreamAuthorization } from "../upstreams/index.ts";
import { readTokenAnswer, type TokenAnswer } from "../vault/index.ts";
import { isTheSame } from "./exchange.ts";
import { extendLink, type Link } from "./links.ts";
import type { ConnectParts } from "./parts.ts";
import { currentFor, type TripData, tripData } from "./round-trip.ts";
import { refuseSwitchedOff } from "./standing.ts";
import { scopesFor } from "./step-up.ts";

/*
 * RFC 8628 as a client: a trip to a provider that this browser need not reach, and that need not come back. It is a flow like
 * any other trip, so whatever ends a link ends it too, and any replica goes on with it.
 */

/** What the person types where, and when the provider may be asked next; all times in milliseconds since 1970. */
export interface CodeTripData extends TripData {
  code: {
    user_code: string;
    verification_uri: string;
    verification_uri_complete?: string;
    interval_ms: number;
    next_at: number;
  };
}

export type CodeTrip = Flow<CodeTripData>;

const SECOND = 1000;
const LONGEST_CODE_MS = 30 * 60 * SECOND;
/** RFC 8628 §3.2: where the provider names none. */
const USUAL_INTERVAL_MS = 5 * SECOND;
const LONGEST_INTERVAL_MS = 60 * SECOND;
/** One request to a provider takes less; nobody else asks meanwhile. */
const TURN_MS = 15 * SECOND;
const LONGEST_USER_CODE = 64;

/** Whether a provider gives codes at all. */
export function givesCodes({ server }: Pick<UpstreamAuthorization, "server">): boolean {
  return server.device_authorization_endpoint !== undefined;
}

/** Asks the provider for a code, and starts the trip; an earlier one of the same link ends. Throws 422 `code_unavailable`. */
export async function startCodeTrip(
  parts: ConnectParts,
  link: Link,
  upstream: Upstream,
): Promise<{ cookie: [string, string] }> {
  await refuseSwitchedOff(parts, link);
  const authorization = await currentFor(parts, upstream);
  const scopes = await scopesFor(parts, link, authorization);
  const given = await askForCode(parts, { ...authorization, scopes });
  const key = authorization.proofs ? ProofKey.make() : undefined;
  const browser = newSecret(parts.world);
  const ttlMs = Math.min(given.expires_in * SECOND, LONGEST_CODE_MS);
  const now = parts.world.now().getTime();
  const interval_ms = Math.min((given.interval ?? 0) * SECOND || USUAL_INTERVAL_MS, LONGEST_INTERVAL_MS);
  const { user_code, verification_uri, verification_uri_complete } = given;
  const code = {
    user_code,
    verification_uri,
    verification_uri_complete,
    interval_ms,
    next_at: now + interval_ms,
  };
  const trip = await parts.database.transaction(async (tx) => {
    await extendLink(parts, tx, link, now + ttlMs);
    await parts.flows.end(tx, { kind: "state", parentId: link.id }, "replaced");
    await parts.vault.releaseHeld(tx, link.id, "replaced");
    return parts.flows.start(tx, {
      kind: "state",
      browserHash: parts.hash.of("flow_cookie", browser),
      owner: link.owner,
      upstreamId: link.upstreamId,
      account: link.account,
      parentId: link.id,
      data: { ...tripData(authorization, scopes), code },
      secret: { device_code: given.device_code, ...(key && { proof_key: key.secret.reveal() }) },
      ttlMs,
    });
  });
  return { cookie: cookie(codeCookie(parts, trip.id), browser, ttlMs / SECOND, parts.settings) };
}

/** The trip by code that this browser started for a link, and which has not ended. */
export async function findCodeTrip(
  parts: ConnectParts,
  request: Request,
  linkId: string,
): Promise<CodeTrip | undefined> {
  const row = await parts.database.db
    .selectFrom("flows")
    .select("id")
    .where("kind", "=", "state")
    .where("parent_id", "=", linkId)
    .where("ended_at", "is", null)
    .executeTakeFirst();
  if (!row) return undefined;
  const found = await parts.flows.peek<CodeTripData>(parts.database.db, "state", { id: row.id });
  if (found.state !== "pending" || found.flow.data.code === undefined) return undefined;
  const value = readCookie(request, codeCookie(parts, row.id));
  const isHere = value !== undefined && parts.hash.of("flow_cookie", value) === found.flow.browserHash;
  return isHere ? found.flow : undefined;
}

export function codeCookie(parts: Pick<ConnectParts, "settings">, tripId: string): string {
  return cookieName("state", parts.settings, tripId);
}

/** `waiting`: not yet answered there, or not yet time to ask. `gone`: what is known of the provider is not what it was. */
export type Polled = { outcome: "waiting" } | { outcome: "gone" } | TokenAnswer;

/**
 * Asks the provider whether the person has answered there: one request at a time on whatever replica, never more often than
 * it wants (RFC 8628 §3.5).
 */
export async function poll(
  parts: ConnectParts,
  trip: CodeTrip,
  authorization: UpstreamAuthorization | undefined,
): Promise<Polled> {
  if (!authorization || !isTheSame(authorization, trip.data)) return { outcome: "gone" };
  const { code } = trip.data;
  const now = parts.world.now().getTime();
  const mine = { ...trip.data, code: { ...code, next_at: now + TURN_MS } };
  if (now < code.next_at || !(await parts.flows.update(parts.database.db, trip, mine)))
    return { outcome: "waiting" };
  const answer = await ask(parts, trip, authorization);
  const isPending = answer.outcome === "refused" && answer.error === "authorization_pending";
  if (!isPending && answer.outcome !== "unavailable") return answer;
  // RFC 8628 §3.5: `slow_down` is five seconds more from now on, and no answer at all is twice as long.
  const interval_ms = isPending
    ? code.interval_ms
    : Math.min(Math.max(code.interval_ms + 5 * SECOND, 2 * code.interval_ms), LONGEST_INTERVAL_MS);
  const next_at = parts.world.now().getTime() + interval_ms;
  await parts.flows.update(
    parts.database.db,
    { ...trip, data: mine },
    { ...mine, code: { ...code, interval_ms, next_at } },
  );
  return { outcome: "waiting" };
}

async function ask(
  parts: ConnectParts,
  trip: CodeTrip,
  { server, client, clientAuth, resource, facts, tls }: UpstreamAuthorization,
): Promise<TokenAnswer> {
  const { device_code = "", proof_key } = trip.secret();
  const key = proof_key === undefined ? undefined : ProofKey.open(new Hidden(proof_key));
  const options = {
    ...oauthOptions(parts.world, trip.data.token_endpoint, tls, key),
    // RFC 8707 §2.2
    additionalParameters: resource === undefined ? undefined : { resource },
  };
  try {
    const response = await proving(key, () =>
      oauth.deviceCodeGrantRequest(server, client, clientAuth, device_code, options),
    );
    const now = parts.world.now().getTime();
    return await readTokenAnswer(server, client, response, now, "code", facts?.token, key);
  } catch (error) {
    if (error instanceof OutboundError) return { outcome: "unavailable", reason: error.reason };
    throw error;
  }
}

type Given = Pick<
  oauth.DeviceAuthorizationResponse,
  "device_code" | "user_code" | "verification_uri" | "verification_uri_complete" | "expires_in" | "interval"
>;

async function askForCode(parts: ConnectParts, authorization: UpstreamAuthorization): Promise<Given> {
  const { server, client, clientAuth, resource, scopes, facts, tls } = authorization;
  const endpoint = server.device_authorization_endpoint;
  if (endpoint === undefined) throw codeUnavailable();
  const parameters = new URLSearchParams();
  if (scopes.length > 0)
    parameters.set(facts?.scope?.parameter ?? "scope", scopes.join(facts?.scope?.separator ?? " "));
  if (resource !== undefined) parameters.set("resource", resource);
  try {
    const options = oauthOptions(parts.world, endpoint, tls);
    const response = await oauth.deviceAuthorizationRequest(server, client, clientAuth, parameters, options);
    const given = await oauth.processDeviceAuthorizationResponse(server, client, response);
    if (!isShowable(given)) throw new Error("a code or an address that cannot be shown");
    return given;
  } catch (error) {
    if (error instanceof Problem) throw error;
    const reason = error instanceof oauth.ResponseBodyError ? error.error.slice(0, 64) : String(error);
    parts.world.log.warn("connect.code_refused", { issuer: authorization.issuer, reason });
    throw codeUnavailable();
  }
}

/** What a person reads off the page and types: short, printable, and an address of the web (never `javascript:`). */
function isShowable({ user_code, verification_uri, verification_uri_complete }: Given): boolean {
  const isWeb = (text: string) => /^https?:$/.test(URL.parse(text)?.protocol ?? "") && text.length <= 2048;
  const isPlain = user_code.length <= LONGEST_USER_CODE && /^[\p{L}\p{N} -]+$/u.test(user_code);
  return (
    isPlain &&
    isWeb(verification_uri) &&
    (verification_uri_complete === undefined || isWeb(verification_uri_complete))
  );
}

export function codeUnavailable(): Problem {
  return new Problem(
    "unprocessable",
    "code_unavailable",
    "The sign-in service gives this gateway no code at the moment. Connect without a code, or ask your administrator.",
  );
}
