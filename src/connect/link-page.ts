import { z } from "zod";
import { Problem } from "../base/index.ts";
import { type Route, redirect } from "../http/index.ts";
import { route } from "../identity/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { codePlace } from "./code-page.ts";
import { givesCodes } from "./code-trip.ts";
import { mayFinish, type Opener, opener, whoFinishes } from "./finisher.ts";
import { takeHeaderForm } from "./header-form.ts";
import { headerPage } from "./header-page.ts";
import { identityOf } from "./link-identity.ts";
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
  if (who.step === "sign_in") {
    const { machine } = await identityOf(parts, request, link);
    return signInFirstPage(link, upstream, machine !== undefined);
  }
  if (isPerUserHeaders(upstream))
    return showHeaderForm(parts, request, link, { upstream, who, error, field });
  const authorization = await parts.oauth.prepare(upstream);
  const { server } = authorization;
  return linkPage({
    link,
    upstream,
    identity: await identityOf(parts, request, link),
    provider: new URL(server.authorization_endpoint!).origin,
    scopes: await newScopes(parts, link),
    ask: who.step === "ask" ? who.field : undefined,
    takesToken: who.step === "ask" && takesToken(parts, link),
    error,
    code: givesCodes(authorization) ? codePlace(link.id) : undefined,
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
    const actor = await whoFinishes(parts, request, link.owner);
    return takeHeaderForm({ parts, link, upstream, form, here, done: link.data.return_to ?? here, actor });
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
  return identityOf(parts, request, link).then(({ words, machine }) =>
    headerPage({
      upstream,
      identity: words,
      machine,
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
