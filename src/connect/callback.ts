import { z } from "zod";
import { Hidden, Problem } from "../base/index.ts";
import type { Flow } from "../db/index.ts";
import { clearCookie, type Route, readCookie, redirect, unrepeated } from "../http/index.ts";
import { route } from "../identity/index.ts";
import type { NewSecret, Token } from "../vault/index.ts";
import { cameBackBefore, remembered } from "./callback-again.ts";
import { redeem } from "./exchange.ts";
import { notYours, refuseOtherPerson } from "./finisher.ts";
import { endedLink, type LinkData, linkPath } from "./links.ts";
import { againPage } from "./pages.ts";
import type { ConnectParts } from "./parts.ts";
import { stateCookie, type TripData } from "./round-trip.ts";
import { refuseSwitchedOff, switchedOff } from "./standing.ts";
import { askFirst, withdrawn } from "./swap.ts";

type Trip = Flow<TripData>;

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

async function comeBack(parts: ConnectParts, request: Request, url: URL): Promise<Response> {
  const answer = unrepeated(url.searchParams);
  const { state } = answer;
  if (!state) throw notOurs();
  const onward = await cameBackBefore(parts, request, state);
  if (onward !== undefined) return redirect(onward);
  const waiting = await checkBrowser(parts, request, state);
  await refuseSwitchedOff(parts, { owner: waiting.owner!, upstreamId: waiting.upstreamId! });
  parts.world.reach("callback.1.state_found");
  const trip = await claim(parts, state);
  parts.world.reach("callback.2.state_claimed");
  const { data } = trip;
  // The path is part of the answer: an upstream's own redirect URI tells mix-ups apart (UP-04, UP-05).
  if (new URL(data.redirect_uri).pathname !== url.pathname) throw mixUp();
  checkIssuer(parts, answer.iss, data);
  const response = await finish(parts, trip, answer, url.searchParams);
  response.headers.append(...clearCookie(stateCookie(parts, state), parts.settings));
  return response;
}

/** Before anything else: the browser that left is the one that comes back. Otherwise `state` stays unclaimed (CB-15). */
async function checkBrowser(parts: ConnectParts, request: Request, state: string): Promise<Trip> {
  const found = await parts.flows.peek<TripData>(parts.database.db, "state", {
    handleHash: parts.hash.of("state", state),
  });
  if (found.state === "unknown") throw notOurs();
  if (found.state === "ended" || found.state === "expired") throw endedLink();
  const value = readCookie(request, stateCookie(parts, state));
  if (value === undefined || parts.hash.of("flow_cookie", value) !== found.flow.browserHash) throw notYours();
  await refuseOtherPerson(parts, request, found.flow.owner!);
  return found.flow;
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
  answer: Record<string, string>,
  parameters: URLSearchParams,
): Promise<Response> {
  const upstream = parts.upstreams.find(trip.upstreamId!);
  const name = upstream?.name ?? "The service";
  if (answer.error !== undefined) {
    // UP-32: their words go nowhere; the link stays pending, so the same one can be tried again.
    const declined = answer.error === "access_denied";
    const sentence = declined
      ? `${name} was not connected, because the request was declined there.`
      : `The sign-in service of ${name} refused the request. Try again; if it stays so, tell your administrator.`;
    return retry(parts, trip, declined ? "connect_declined" : "connect_failed", sentence, 400);
  }
  if (!answer.code) throw notOurs();
  const authorization = upstream && (await parts.oauth.recorded(upstream));
  const { verifier = "", proof_key } = trip.secret();
  const proofKey = proof_key === undefined ? undefined : new Hidden(proof_key);
  const redeemed = await redeem(parts, authorization, trip.data, { parameters, verifier, proofKey });
  if (!redeemed) throw endedLink();
  parts.world.reach("callback.4.token_received");
  if (redeemed.outcome === "token") return store(parts, trip, redeemed.token);
  const { outcome } = redeemed;
  const reason = redeemed.outcome === "refused" ? redeemed.error : redeemed.reason;
  parts.world.log.warn("connect.exchange_failed", { upstream: trip.upstreamId, outcome, reason });
  return retry(
    parts,
    trip,
    "connect_failed",
    `The sign-in service of ${name} did not complete the connection. Try again.`,
    502,
  );
}

/** Stores only while the link is still pending: whatever took access away or replaced it has ended it (ID-26). */
async function store(parts: ConnectParts, trip: Trip, token: Token): Promise<Response> {
  const owner = trip.owner!;
  const upstreamId = trip.upstreamId!;
  const secret: NewSecret = {
    kind: "oauth",
    ...token,
    askedScopes: trip.data.scopes,
    oauthConfigId: trip.data.config_id,
    issuer: trip.data.issuer,
  };
  // Switched off while the provider answered: nothing is stored, and the link stays for when it is on again.
  const stopped = await switchedOff(parts, { owner, upstreamId });
  if (stopped) {
    await parts.database.transaction((tx) => parts.vault.disown(tx, upstreamId, secret, owner));
    throw stopped;
  }
  const stored = await parts.database.transaction(async (tx) => {
    const asked = await askFirst(parts, tx, trip, secret);
    if (asked) {
      parts.world.reach("swap.1.held");
      return { asked };
    }
    const taken = await parts.flows.take<LinkData>(tx, "connect", { id: trip.parentId! }, "connected");
    parts.world.reach("callback.5.link_taken");
    const put = taken && (await parts.vault.put(tx, { owner, upstreamId, account: trip.account, secret }));
    if (!put) {
      // Nobody wants these tokens any more; the provider is told.
      await parts.vault.disown(tx, upstreamId, secret, owner);
      if (taken)
        await tx.updateTable("flows").set({ outcome: "access_lost" }).where("id", "=", taken.id).execute();
      return undefined;
    }
    const tombstone = { data_json: remembered(taken.data) };
    await tx.updateTable("flows").set(tombstone).where("id", "=", taken.id).execute();
    parts.world.reach("callback.6.credential_stored");
    const detail = { session_id: put.id, generation: put.generation, flow_id: taken.id };
    const actor = owner.mode === "flow" ? "system" : `${owner.mode}:${owner.id}`;
    await parts.audit.append(tx, { event: "credential.connected", actor, owner, upstreamId, detail });
    parts.world.reach("callback.7.audited");
    return { link: taken };
  });
  parts.world.reach("callback.8.committed");
  if (!stored) throw withdrawn();
  if (stored.asked) parts.world.reach("swap.2.hold_committed");
  if (stored.asked) return redirect(stored.asked.path, 303, [stored.asked.cookie]);
  return redirect(stored.link.data.return_to ?? linkPath(stored.link.id));
}

async function retry(
  parts: ConnectParts,
  trip: Trip,
  code: string,
  sentence: string,
  status: number,
): Promise<Response> {
  const found = await parts.flows.peek<LinkData>(parts.database.db, "connect", { id: trip.parentId! });
  if (found.state !== "pending") throw endedLink();
  const { return_to } = found.flow.data;
  if (return_to === null) return againPage({ sentence, again: linkPath(trip.parentId!), status });
  const back = new URL(return_to, parts.settings.baseUrl);
  back.searchParams.set("error", code);
  return redirect(back.pathname + back.search);
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
