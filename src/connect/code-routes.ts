import { z } from "zod";
import { Problem } from "../base/index.ts";
import { clearCookie, type Route, redirect } from "../http/index.ts";
import { route } from "../identity/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { askForCodePage, codePage, codePath, codePlace } from "./code-page.ts";
import {
  type CodeTrip,
  codeCookie,
  codeUnavailable,
  findCodeTrip,
  givesCodes,
  type Polled,
  poll,
  startCodeTrip,
} from "./code-trip.ts";
import { giveUp, storeToken, tryAgain } from "./finish-trip.ts";
import { mayFinish, type Opener, opener, whoFinishes } from "./finisher.ts";
import { identityOf, type LinkIdentity } from "./link-identity.ts";
import { getUpstream } from "./link-page.ts";
import { endedLink, getLink, type Link, linkPath, startLink } from "./links.ts";
import { signInFirstPage } from "./pages.ts";
import { type ConnectParts, isPerUserHeaders, isPerUserOAuth, kindOf } from "./parts.ts";
import { refuseSwitchedOff } from "./standing.ts";
import { placeAfter } from "./swap.ts";

const id = z.string().min(1).max(200);
const common = { tag: "Connect", access: "browser", errors: "page" } as const;

/** Connecting with a code that is typed at the provider, for browsers that cannot be sent there and back (RFC 8628). */
export function codeRoutes(parts: ConnectParts): Route[] {
  return [
    route({
      ...common,
      method: "GET",
      path: codePath,
      operationId: "connectCodePage",
      summary: "The code to type at the provider; with `waiting` also asks whether that has been done",
      csrf: "none",
      rate: "authorize",
      effect: true,
      query: z.object({
        flow: id,
        waiting: z.literal("1").optional(),
        error: z.string().max(100).optional(),
      }),
      refuses: [401, 403, 404, 409, 410, 422, 502, 504],
      answers: {
        200: { description: "A page" },
        303: { description: "Connected; or a question about the account" },
      },
      handle: ({ request, query }) => show(parts, request, query),
    }),
    route({
      ...common,
      method: "POST",
      path: codePath,
      operationId: "connectCodeStart",
      summary: "Get a code from the provider",
      csrf: "page",
      rate: "guess",
      form: z.object({
        flow: id,
        vk: z.string().max(4096).optional(),
        session: z.string().max(4096).optional(),
      }),
      refuses: [401, 403, 404, 409, 410, 422, 502, 504],
      answers: { 303: { description: "To the page with the code, or back with `error`" } },
      handle: ({ request, body }) => start(parts, request, body),
    }),
    consentRoute(parts),
  ];
}

/** The services page's way in: the link of that consent, finished with a code. */
function consentRoute(parts: ConnectParts): Route {
  return route({
    ...common,
    method: "GET",
    path: "/oauth/consent/code",
    operationId: "consentConnectCode",
    summary: "Connect a service during a consent with a code",
    csrf: "none",
    rate: "authorize",
    errors: "form",
    effect: true,
    query: z.object({ mcp_client_id: id, flow_id: id }),
    refuses: [401, 403, 404, 409, 410, 422, 502, 504],
    answers: { 303: { description: "To the page that gives the code" } },
    handle: async ({ request, query }) => {
      const upstream = parts.upstreams.find(query.mcp_client_id);
      if (!isPerUserOAuth(upstream))
        throw new Problem("not_found", "upstream_not_found", "There is no such service to connect here.");
      const pass = await parts.consentGate(request, query.flow_id, upstream.id);
      if (!givesCodes(await parts.oauth.prepare(upstream)))
        return redirect(`${pass.returnTo}&${new URLSearchParams({ error: "code_unavailable" })}`);
      const owner = { mode: "flow" as const, id: pass.flowId };
      const binding = { owner, upstreamId: upstream.id, account: "" };
      const { flowId: parentId, returnTo } = pass;
      const link = await startLink(parts, binding, { parentId, returnTo, identity: pass.identity.owner });
      return redirect(codePlace(link.id));
    },
  });
}

async function show(
  parts: ConnectParts,
  request: Request,
  { flow: linkId, waiting, error }: { flow: string; waiting?: string; error?: string },
): Promise<Response> {
  const found = await parts.flows.peek(parts.database.db, "connect", { id: linkId });
  if (found.state === "ended" && (found.outcome === "connected" || found.outcome === "kept"))
    return redirect(await placeAfter(parts, request, linkId));
  const link = await getLink(parts, linkId);
  const upstream = await codeUpstream(parts, link);
  const who = await whoOpens(parts, request, link);
  if (who.step === "sign_in") {
    const { machine } = await identityOf(parts, request, link);
    return signInFirstPage(link, upstream, machine !== undefined);
  }
  const trip = await findCodeTrip(parts, request, link.id);
  const identity = who.identity ?? (await identityOf(parts, request, link));
  const content = { linkId: link.id, upstream, identity, back: link.data.return_to ?? linkPath(link.id) };
  if (!trip) return askForCodePage({ ...content, ask: who.step === "ask" ? who.field : undefined, error });
  if (waiting === undefined) return codePage({ ...content, ...of(parts, trip), waiting: false });
  const answer = await check(parts, request, trip, upstream);
  if (answer) return answer;
  const later = (await findCodeTrip(parts, request, link.id)) ?? trip;
  return codePage({ ...content, ...of(parts, later), waiting: true });
}

async function start(
  parts: ConnectParts,
  request: Request,
  form: { flow: string; vk?: string; session?: string },
): Promise<Response> {
  const link = await getLink(parts, form.flow);
  const upstream = await codeUpstream(parts, link);
  if (!(await mayStart(parts, request, link, form))) {
    const error = link.owner.mode === "vk" ? "wrong_key" : "wrong_session";
    return redirect(codePlace(link.id, { error }));
  }
  const started = await startCodeTrip(parts, link, upstream);
  return redirect(codePlace(link.id), 303, [started.cookie]);
}

async function mayStart(
  parts: ConnectParts,
  request: Request,
  link: Link,
  form: { vk?: string; session?: string },
): Promise<boolean> {
  if (link.owner.mode === "flow")
    return parts.consentGate(request, link.owner.id, link.upstreamId).then(() => true);
  // A new code in place of one that this browser got: its key was typed before.
  if (
    (link.owner.mode === "vk" || link.owner.mode === "session") &&
    (await findCodeTrip(parts, request, link.id))
  )
    return true;
  return mayFinish(parts, request, link, form);
}

/** Asks the provider, if it is time to; undefined: the person has not answered there. */
async function check(
  parts: ConnectParts,
  request: Request,
  trip: CodeTrip,
  upstream: Upstream,
): Promise<Response | undefined> {
  const actor = await whoFinishes(parts, request, trip.owner!);
  await refuseSwitchedOff(parts, { owner: trip.owner!, upstreamId: upstream.id });
  const polled = await poll(parts, trip, await parts.oauth.recorded(upstream));
  if (polled.outcome === "waiting") return undefined;
  // Once: from here on nobody else asks with this code.
  const taken = await parts.database.transaction((tx) =>
    parts.flows.take(tx, "state", { id: trip.id }, "claimed"),
  );
  const response = await settle(parts, trip, polled, { actor, upstream, isTaken: taken !== undefined });
  response.headers.append(...clearCookie(codeCookie(parts, trip.id), parts.settings));
  return response;
}

async function settle(
  parts: ConnectParts,
  trip: CodeTrip,
  polled: Exclude<Polled, { outcome: "waiting" }>,
  { actor, upstream, isTaken }: { actor: string; upstream: Upstream; isTaken: boolean },
): Promise<Response> {
  if (polled.outcome === "token" && isTaken) return storeToken(parts, trip, polled.token, actor);
  if (polled.outcome === "token") await giveUp(parts, trip, polled.token);
  if (polled.outcome === "token" || polled.outcome === "gone" || !isTaken) throw endedLink();
  const error = polled.outcome === "refused" ? polled.error : polled.reason;
  // RFC 8628 §3.5
  if (error === "expired_token") return redirect(codePlace(trip.parentId!, { error: "code_expired" }));
  const declined = error === "access_denied";
  if (!declined)
    parts.world.log.warn("connect.exchange_failed", { upstream: upstream.id, reason: error, by: "code" });
  return tryAgain(parts, trip, {
    code: declined ? "connect_declined" : "connect_failed",
    sentence: declined
      ? `${upstream.name} was not connected, because the request was declined there.`
      : `The sign-in service of ${upstream.name} did not complete the connection. Try again.`,
    status: declined ? 400 : 502,
  });
}

type Who = Opener & { identity?: LinkIdentity };

/** In a consent its own gate decides; everywhere else who started the link. */
async function whoOpens(parts: ConnectParts, request: Request, link: Link): Promise<Who> {
  if (link.owner.mode !== "flow") return opener(parts, request, link);
  const { display } = await parts.consentGate(request, link.owner.id, link.upstreamId);
  return { step: "proved", identity: { words: display } };
}

async function codeUpstream(parts: ConnectParts, link: Link): Promise<Upstream> {
  const upstream = getUpstream(parts, link);
  if (kindOf(upstream) !== "oauth" || isPerUserHeaders(upstream)) throw codeUnavailable();
  if (!givesCodes(await parts.oauth.prepare(upstream))) throw codeUnavailable();
  return upstream;
}

function of({ world }: ConnectParts, trip: CodeTrip) {
  const minutes = Math.max(1, Math.ceil((trip.expiresAt - world.now().getTime()) / 60_000));
  return { code: trip.data.code, minutes };
}
