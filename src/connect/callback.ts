import { z } from "zod";
import { Hidden, Problem } from "../base/index.ts";
import { clearCookie, type Route, readCookie, redirect, unrepeated } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { cameBackBefore } from "./callback-again.ts";
import { redeem } from "./exchange.ts";
import { storeToken, type Trip, tryAgain } from "./finish-trip.ts";
import { notYours, whoFinishes } from "./finisher.ts";
import { endedLink } from "./links.ts";
import type { ConnectParts } from "./parts.ts";
import { stateCookie, type TripData } from "./round-trip.ts";
import { refuseSwitchedOff } from "./standing.ts";

/** The two ways back from a provider (contract section 6). HEAD and prefetch are answered without effect by http/. */
export function callbackRoutes(parts: ConnectParts): Route[] {
  const common = {
    method: "GET" as const,
    tag: "Connect",
    access: "browser" as const,
    csrf: "none" as const,
    rate: "authorize" as const,
    errors: "page" as const,
    effect: true,
    answers: { 303: { description: "To the services page, or to the page that says connected" } },
  };
  return [
    route({
      ...common,
      path: "/api/oauth/callback/{mcp_client_id}",
      operationId: "oauthCallback",
      refuses: [403, 409, 410, 502],
      summary: "A provider's answer, at the upstream's own redirect URI",
      params: z.object({ mcp_client_id: z.string().min(1).max(200) }),
      handle: ({ request, url }) => comeBack(parts, request, url),
    }),
    route({
      ...common,
      path: "/api/oauth/callback",
      operationId: "oauthCallbackShared",
      refuses: [403, 409, 410, 502],
      summary: "A provider's answer, at the shared redirect URI",
      handle: ({ request, url }) => comeBack(parts, request, url),
    }),
  ];
}

/** What a provider answered, at `url`. Also of an address that the person brought by hand (paste-address.ts). */
export async function comeBack(parts: ConnectParts, request: Request, url: URL): Promise<Response> {
  const answer = unrepeated(url.searchParams);
  const { state } = answer;
  if (!state) throw notOurs();
  const onward = await cameBackBefore(parts, request, state);
  if (onward !== undefined) return redirect(onward);
  const { waiting, actor } = await checkBrowser(parts, request, state);
  await refuseSwitchedOff(parts, { owner: waiting.owner!, upstreamId: waiting.upstreamId! });
  parts.world.reach("callback.1.state_found");
  const trip = await claim(parts, state);
  parts.world.reach("callback.2.state_claimed");
  const { data } = trip;
  // The path is part of the answer: an upstream's own redirect URI tells mix-ups apart (UP-04, UP-05).
  if (new URL(data.redirect_uri).pathname !== url.pathname) throw mixUp();
  checkIssuer(parts, answer.iss, data);
  const response = await finish(parts, trip, actor, { answer, parameters: url.searchParams });
  response.headers.append(...clearCookie(stateCookie(parts, state), parts.settings));
  return response;
}

/** Before anything else: the browser that left is the one that comes back. Otherwise `state` stays unclaimed (CB-15). */
async function checkBrowser(
  parts: ConnectParts,
  request: Request,
  state: string,
): Promise<{ waiting: Trip; actor: string }> {
  const found = await parts.flows.peek<TripData>(parts.database.db, "state", {
    handleHash: parts.hash.of("state", state),
  });
  if (found.state === "unknown") throw notOurs();
  if (found.state === "ended" || found.state === "expired") throw endedLink();
  const value = readCookie(request, stateCookie(parts, state));
  if (value === undefined || parts.hash.of("flow_cookie", value) !== found.flow.browserHash) throw notYours();
  return { waiting: found.flow, actor: await whoFinishes(parts, request, found.flow.owner!) };
}

async function claim(parts: ConnectParts, state: string): Promise<Trip> {
  const key = { handleHash: parts.hash.of("state", state) };
  const trip = await parts.database.transaction((tx) =>
    parts.flows.take<TripData>(tx, "state", key, "claimed"),
  );
  if (!trip) throw endedLink();
  return trip;
}

/** RFC 9207 §2.4, before `code` or `error` count for anything: simple string comparison with the recorded issuer. */
function checkIssuer(parts: ConnectParts, iss: string | undefined, trip: TripData): void {
  const isShared = new URL(trip.redirect_uri).pathname === "/api/oauth/callback";
  const required = trip.iss_promised || (isShared && sharedByOthers(parts));
  if (iss === undefined ? required : iss !== trip.issuer) throw mixUp();
}

/** At the shared redirect URI only `iss` tells several providers apart. */
function sharedByOthers(parts: ConnectParts): boolean {
  return parts.upstreams.all().filter((upstream) => upstream.oauth?.redirect === "shared").length > 1;
}

async function finish(
  parts: ConnectParts,
  trip: Trip,
  actor: string,
  { answer, parameters }: { answer: Record<string, string>; parameters: URLSearchParams },
): Promise<Response> {
  const upstream = parts.upstreams.find(trip.upstreamId!);
  const name = upstream?.name ?? "The service";
  if (answer.error !== undefined) {
    // UP-32: their words go nowhere; the link stays pending, so the same one can be tried again.
    const declined = answer.error === "access_denied";
    const sentence = declined
      ? `${name} was not connected, because the request was declined there.`
      : `The sign-in service of ${name} refused the request. Try again; if it stays so, tell your administrator.`;
    const code = declined ? "connect_declined" : "connect_failed";
    return tryAgain(parts, trip, { code, sentence, status: 400 });
  }
  if (!answer.code) throw notOurs();
  const authorization = upstream && (await parts.oauth.recorded(upstream));
  const { verifier = "", proof_key } = trip.secret();
  const proofKey = proof_key === undefined ? undefined : new Hidden(proof_key);
  const redeemed = await redeem(parts, authorization, trip.data, { parameters, verifier, proofKey });
  if (!redeemed) throw endedLink();
  parts.world.reach("callback.4.token_received");
  if (redeemed.outcome === "token") return storeToken(parts, trip, redeemed.token, actor);
  const { outcome } = redeemed;
  const reason = redeemed.outcome === "refused" ? redeemed.error : redeemed.reason;
  parts.world.log.warn("connect.exchange_failed", { upstream: trip.upstreamId, outcome, reason });
  const sentence = `The sign-in service of ${name} did not complete the connection. Try again.`;
  return tryAgain(parts, trip, { code: "connect_failed", sentence, status: 502 });
}

function notOurs(): Problem {
  return new Problem(
    "invalid",
    "invalid_callback",
    "This answer does not belong to anything we asked for. Go back to your app and start again.",
  );
}

function mixUp(): Problem {
  return new Problem(
    "invalid",
    "provider_mismatch",
    "The answer did not come from the sign-in service we asked, so it was not used. Go back to your app and start again.",
  );
}
