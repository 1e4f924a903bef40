import { z } from "zod";
import { Problem } from "../base/index.ts";
import { type Route, redirect } from "../http/index.ts";
import { route } from "../identity/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { mayFinish, type Opener, opener } from "./finisher.ts";
import { takeHeaderForm } from "./header-form.ts";
import { headerPage } from "./header-page.ts";
import { spendToken, takesToken } from "./link-token.ts";
import { getLink, type Link, linkPath } from "./links.ts";
import { connectedPage, keptPage, linkPage, signInFirstPage } from "./pages.ts";
import { type ConnectParts, isPerUserHeaders, kindOf } from "./parts.ts";
import { depart } from "./round-trip.ts";
import { newScopes } from "./step-up.ts";

const tag = "Connect";
const path = "/workspace/mcp-sessions/auth";

/** The page behind every connect link (contract section 6), and the same-origin POST that leaves for the provider. */
export function linkPageRoutes(parts: ConnectParts): Route[] {
  return [
    route({
      method: "GET",
      path,
      operationId: "connectPage",
      summary: "The page behind a connect link",
      tag,
      access: "browser",
      csrf: "none",
      rate: "authorize",
      errors: "page",
      query: z.object({
        flow: z.string().min(1).max(200),
        kind: z.enum(["oauth", "headers"]).optional(),
        error: z.string().max(100).optional(),
        field: z.string().max(128).optional(),
      }),
      refuses: [403, 404, 410, 422, 502, 504],
      answers: { 200: { description: "What will be connected, for whom, and one button" } },
      handle: ({ request, query }) => show(parts, request, query),
    }),
    route({
      method: "POST",
      path,
      operationId: "connectContinue",
      summary: "Go on to the provider",
      tag,
      access: "browser",
      csrf: "page",
      rate: "guess",
      errors: "page",
      form: z
        .object({
          flow: z.string().min(1).max(200),
          vk: z.string().max(4096).optional(),
          t: z.string().max(200).optional(),
          session: z.string().max(4096).optional(),
        })
        .catchall(z.string()),
      refuses: [401, 403, 404, 409, 410, 422, 502, 504],
      answers: {
        303: {
          description: "To the provider, with a cookie bound to `state`; or to the end of a header form",
        },
      },
      handle: ({ request, body }) => goOn(parts, request, body),
    }),
  ];
}

async function show(
  parts: ConnectParts,
  request: Request,
  { flow: flowId, error, field }: { flow: string; error?: string; field?: string },
): Promise<Response> {
  const found = await parts.flows.peek(parts.database.db, "connect", { id: flowId });
  if (found.state === "ended" && found.outcome === "connected")
    return connectedPage(await connectedName(parts, flowId));
  if (found.state === "ended" && found.outcome === "kept") return keptPage();
  const link = await getLink(parts, flowId);
  const upstream = getUpstream(parts, link);
  const who = await opener(parts, request, link);
  if (who.step === "sign_in") return signInFirstPage(link, upstream);
  if (isPerUserHeaders(upstream))
    return showHeaderForm(parts, request, link, { upstream, who, error, field });
  const { server } = await parts.oauth.prepare(upstream);
  return linkPage({
    link,
    upstream,
    identity: await describeIdentity(parts, request, link),
    provider: new URL(server.authorization_endpoint!).origin,
    scopes: await newScopes(parts, link),
    ask: who.step === "ask" ? who.field : undefined,
    takesToken: who.step === "ask" && takesToken(parts, link),
    error,
  });
}

async function goOn(
  parts: ConnectParts,
  request: Request,
  form: { flow: string; vk?: string; session?: string; t?: string; [field: string]: string | undefined },
): Promise<Response> {
  const link = await getLink(parts, form.flow);
  const upstream = getUpstream(parts, link);
  const again = (error: string) =>
    redirect(`${linkPath(link.id, kindOf(upstream))}&${new URLSearchParams({ error })}`);
  if (form.t !== undefined) {
    const proof = await spendToken(parts, link, form.t);
    return proof ? redirect(linkPath(link.id, kindOf(upstream)), 303, [proof]) : again("link_token_used");
  }
  if (!(await mayFinish(parts, request, link, form)))
    return again(link.owner.mode === "vk" ? "wrong_key" : "wrong_session");
  if (isPerUserHeaders(upstream)) {
    const here = linkPath(link.id, "headers");
    return takeHeaderForm({ parts, link, upstream, form, here, done: link.data.return_to ?? here });
  }
  const departure = await depart(parts, link, upstream);
  return redirect(departure.url, 303, [departure.cookie]);
}

function showHeaderForm(
  parts: ConnectParts,
  request: Request,
  link: Link,
  { upstream, who, error, field }: { upstream: Upstream; who: Opener; error?: string; field?: string },
): Promise<Response> {
  return describeIdentity(parts, request, link).then((identity) =>
    headerPage({
      upstream,
      identity,
      action: path,
      hidden: { flow: link.id },
      ask: who.step === "ask" ? who.field : undefined,
      takesToken: who.step === "ask" && takesToken(parts, link),
      error,
      field,
    }),
  );
}

/** The service's name; the page itself is no secret, so links of signed-in people stay nameless for others. */
async function connectedName(parts: ConnectParts, flowId: string): Promise<string | undefined> {
  const row = await parts.database.db
    .selectFrom("flows")
    .select(["owner_mode", "upstream_id"])
    .where("id", "=", flowId)
    .executeTakeFirst();
  const isNameless =
    row?.owner_mode === "user" || row?.owner_mode === "discovery" || row?.owner_mode === "shared";
  if (!row?.upstream_id || isNameless) return undefined;
  return parts.upstreams.find(row.upstream_id)?.name;
}

export function getUpstream(parts: ConnectParts, link: Link): Upstream {
  const upstream = parts.upstreams.find(link.upstreamId);
  if (upstream && kindOf(upstream) !== undefined) return upstream;
  throw new Problem("gone", "link_ended", "The service of this link is not offered here any more.");
}

/** Whose account it will be, and which of several. */
async function describeIdentity(parts: ConnectParts, request: Request, link: Link): Promise<string> {
  const whose = await describeOwner(parts, request, link);
  return link.account === "" ? whose : `${whose}, account “${link.account}”`;
}

async function describeOwner(parts: ConnectParts, request: Request, link: Link): Promise<string> {
  switch (link.owner.mode) {
    case "user":
    case "discovery":
    case "shared": {
      const signedIn = await parts.sessions.of(request);
      const person = signedIn ? `${signedIn.user.name || signedIn.user.email}` : "you";
      if (link.owner.mode === "shared") return `everybody who may use it here (${person} connects it)`;
      return link.owner.mode === "user" ? person : `this gateway, to read the tool list (${person})`;
    }
    case "vk": {
      const key = await parts.virtualKeys.find(link.owner.id);
      return key ? `the virtual key “${key.name}”` : "a virtual key";
    }
    case "session":
    case "flow":
      return "this app's session, without an account here";
  }
}
