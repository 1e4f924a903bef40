import { z } from "zod";
import { Problem, sameOwner } from "../base/index.ts";
import { json, type Route, redirect } from "../http/index.ts";
import { isAdmin, looksAfter, ownerOf, type Principal, personOf, route } from "../identity/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { oauthLink, startAnswer } from "./answers.ts";
import { getUpstream } from "./link-page.ts";
import { getLink, type Link, startLink, unknownLink } from "./links.ts";
import { type ConnectParts, isPerUserHeaders, isPerUserOAuth } from "./parts.ts";
import { depart } from "./round-trip.ts";
import { identityFields } from "./session-view.ts";

const tag = "Connect";
const params = z.object({ id: z.string().min(1).max(200) });

/** Connect links as JSON, for a dashboard, and the services page's way to the provider (contract sections 3 and 6). */
export function flowRoutes(parts: ConnectParts): Route[] {
  return [
    route({
      method: "GET",
      path: "/api/oauth/per-user/flows/{id}",
      operationId: "getConnectFlow",
      summary: "A pending connect link",
      tag,
      access: "management",
      csrf: "none",
      rate: "api",
      errors: "envelope",
      params,
      refuses: [410],
      answers: { 200: { description: "The link and what it connects", schema: oauthLink } },
      handle: async ({ params, caller }) =>
        json(await describe(parts, await getOAuthLink(parts, params.id, caller))),
    }),
    route({
      method: "GET",
      path: "/api/oauth/per-user/flows/{id}/start",
      operationId: "startConnectFlow",
      summary: "Leave for the provider",
      tag,
      access: "management",
      csrf: "session",
      rate: "authorize",
      errors: "envelope",
      effect: true,
      params,
      refuses: [403, 409, 410, 422, 502, 504],
      answers: {
        200: {
          description: "The provider's `authorize_url`; the answer sets the cookie that it needs",
          schema: startAnswer,
          headers: { "Set-Cookie": "Binds the provider's answer to this browser." },
        },
      },
      handle: async ({ params, caller }) => {
        const link = await getOAuthLink(parts, params.id, caller);
        if (!(await mayStart(parts, link, caller))) throw notYourLink();
        const departure = await depart(parts, link, getUpstream(parts, link));
        return json({ authorize_url: departure.url }, 200, Object.fromEntries([departure.cookie]));
      },
    }),
    consentRoute(parts),
  ];
}

function consentRoute(parts: ConnectParts): Route {
  return route({
    method: "GET",
    path: "/api/oauth/per-user/upstream/authorize",
    operationId: "consentConnect",
    summary: "Connect a service during a consent",
    tag,
    access: "browser",
    csrf: "none",
    rate: "authorize",
    errors: "form",
    effect: true,
    query: z.object({ mcp_client_id: z.string().min(1).max(200), flow_id: z.string().min(1).max(200) }),
    refuses: [401, 403, 404, 409, 410, 422, 502, 504],
    answers: { 302: { description: "To the provider" } },
    handle: async ({ request, query }) => {
      const upstream = parts.upstreams.find(query.mcp_client_id);
      if (!isPerUserOAuth(upstream)) {
        throw new Problem("not_found", "upstream_not_found", "There is no such service to connect here.");
      }
      const pass = await parts.consentGate(request, query.flow_id, upstream.id);
      const binding = {
        owner: { mode: "flow" as const, id: pass.flowId },
        upstreamId: upstream.id,
        account: "",
      };
      const link = await startLink(parts, binding, {
        parentId: pass.flowId,
        returnTo: pass.returnTo,
        identity: pass.identity.owner,
      });
      const departure = await depart(parts, link, upstream);
      return redirect(departure.url, 302, [departure.cookie]);
    },
  });
}

/** A link that the caller may not see is 404, like one that does not exist. */
export async function getVisible(parts: ConnectParts, id: string, caller: Principal): Promise<Link> {
  const row = await parts.database.db
    .selectFrom("flows")
    .select(["owner_mode", "owner_id"])
    .where("id", "=", id)
    .where("kind", "=", "connect")
    .executeTakeFirst();
  const own = ownerOf(caller);
  if (!row?.owner_id || row.owner_mode === "flow") throw unknownLink();
  const isOwn = own !== undefined && row.owner_mode === own.mode && row.owner_id === own.id;
  const isVisible =
    isOwn || isAdmin(caller) || (row.owner_mode === "user" && (await tends(parts, caller, row.owner_id)));
  if (!isVisible) throw unknownLink();
  return getLink(parts, id);
}

/** The same for a link that is finished at a provider; header links have addresses of their own. */
async function getOAuthLink(parts: ConnectParts, id: string, caller: Principal): Promise<Link> {
  const link = await getVisible(parts, id, caller);
  if (isPerUserHeaders(parts.upstreams.find(link.upstreamId))) throw unknownLink();
  return link;
}

/**
 * A `user` link needs that user's login, a key is not enough (contract section 1); of a service account, the login of who
 * looks after it (decision 0033).
 */
export async function mayStart(parts: ConnectParts, { owner }: Link, caller: Principal): Promise<boolean> {
  if (owner.mode === "discovery" || owner.mode === "shared")
    return caller.kind === "user" && caller.role === "admin";
  const own = ownerOf(caller);
  const isOwn = own !== undefined && sameOwner(own, owner);
  if (owner.mode !== "user") return isOwn;
  return caller.kind === "user" && (isOwn || (await tends(parts, caller, owner.id)));
}

/** Whether the caller is a person who looks after this service account. */
async function tends({ database }: ConnectParts, caller: Principal, accountId: string): Promise<boolean> {
  const id = personOf(caller);
  if (id === undefined) return false;
  return looksAfter(database.db, { id, role: isAdmin(caller) ? "admin" : "member" }, accountId);
}

export function notYourLink(): Problem {
  return new Problem(
    "forbidden",
    "link_of_another_identity",
    "Only the person this link was made for can go on with it.",
  );
}

async function describe(parts: ConnectParts, link: Link): Promise<unknown> {
  const upstream = getUpstream(parts, link);
  const { has_active, ...described } = await describeLink(parts, link, upstream);
  return { ...described, oauth_config_id: upstream.oauthConfigId, has_active_token: has_active };
}

/** What links of both kinds show. */
export async function describeLink(parts: ConnectParts, link: Link, upstream: Upstream) {
  const held = await parts.vault.find(link.owner, link.upstreamId, link.account);
  const names = await identityNames(parts, link);
  return {
    id: link.id,
    flow_mode: link.owner.mode,
    status: "pending",
    mcp_client: { client_id: upstream.id, name: upstream.name },
    ...identityFields(link.owner, names),
    expires_at: new Date(link.expiresAt).toISOString(),
    created_at: new Date(link.createdAt).toISOString(),
    has_active: held?.status === "active" && !held.orphaned,
  };
}

async function identityNames(parts: ConnectParts, link: Link): Promise<{ user?: string; key?: string }> {
  if (link.owner.mode === "vk") return { key: (await parts.virtualKeys.find(link.owner.id))?.name };
  if (link.owner.mode !== "user") return {};
  const row = await parts.database.db
    .selectFrom("users")
    .select("name")
    .where("id", "=", link.owner.id)
    .executeTakeFirst();
  return { user: row?.name };
}
