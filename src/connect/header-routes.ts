import { z } from "zod";
import { json, type Route } from "../http/index.ts";
import { actorOf, isAdmin, type Principal, route } from "../identity/index.ts";
import { adminHeaderKeys, type Upstream } from "../upstreams/index.ts";
import { headerLink, submittedAnswer } from "./answers.ts";
import { describeLink, getVisible, mayStart, notYourLink } from "./flow-routes.ts";
import { submitHeaders } from "./header-store.ts";
import { type Link, unknownLink } from "./links.ts";
import { type ConnectParts, isPerUserHeaders } from "./parts.ts";
import { deleteSession, getSession, unknownSession } from "./session-routes.ts";

const params = z.object({ id: z.string().min(1).max(200) });
const common = {
  tag: "Connect",
  access: "management",
  rate: "api",
  errors: "envelope",
  params,
} as const;
const flowPath = "/api/mcp/per-user-headers/flows/{id}";

/** Header links and header credentials as JSON (contract section 6). */
export function headerRoutes(parts: ConnectParts): Route[] {
  return [readRoute(parts), submitRoute(parts), deleteRoute(parts)];
}

function readRoute(parts: ConnectParts): Route {
  return route({
    ...common,
    method: "GET",
    path: flowPath,
    operationId: "getHeaderFlow",
    summary: "A pending link for header values",
    csrf: "none",
    refuses: [410],
    answers: {
      200: { description: "The link, and the names it asks for; never a value", schema: headerLink },
    },
    handle: async ({ params, caller }) => {
      const { link, upstream } = await getHeaderLink(parts, params.id, caller);
      const held = await parts.vault.headerNames(link.owner, link.upstreamId, link.account);
      const { has_active, ...described } = await describeLink(parts, link, upstream);
      return json({
        ...described,
        required_header_keys: upstream.perUserHeaderKeys,
        admin_header_keys: adminHeaderKeys(upstream),
        submitted_keys: upstream.perUserHeaderKeys.filter((name) => held.includes(name.toLowerCase())),
        has_active_credential: has_active,
      });
    },
  });
}

function submitRoute(parts: ConnectParts): Route {
  return route({
    ...common,
    method: "PUT",
    path: flowPath,
    operationId: "submitHeaders",
    summary: "Verify header values at the upstream and keep them",
    csrf: "session",
    rate: "authorize",
    json: z.strictObject({ headers: z.record(z.string().max(128), z.string()) }),
    refuses: [403, 409, 410, 422, 502, 504],
    answers: {
      200: { description: "Stored", schema: submittedAnswer },
      410: { description: "The link has expired or ended" },
      422: { description: "The upstream does not accept the values; nothing was stored" },
    },
    handle: async ({ params, body, caller }) => {
      const { link, upstream } = await getHeaderLink(parts, params.id, caller);
      if (!(await maySubmit(parts, link, caller))) throw notYourLink();
      const submission = { link, upstream, given: body.headers, actor: actorOf(caller) };
      const { id, updatedAt } = await submitHeaders(parts, submission);
      const updated_at = new Date(updatedAt).toISOString();
      return json({ status: "success", credential_id: id, updated_at });
    },
  });
}

function deleteRoute(parts: ConnectParts): Route {
  return route({
    ...common,
    method: "DELETE",
    path: "/api/mcp/per-user-headers/credential/{id}",
    operationId: "deleteHeaderCredential",
    summary: "Delete header values and every pending link of their binding",
    csrf: "session",
    refuses: [],
    answers: { 204: { description: "Gone at once" } },
    handle: async ({ params, caller, requestId }) => {
      const row = await getSession(parts, params.id, caller);
      if (row.kind !== "header") throw unknownSession();
      return deleteSession(parts, row, caller, requestId);
    },
  });
}

/** The values that only list the tools are an administrator's, by whatever credential. */
async function maySubmit(parts: ConnectParts, link: Link, caller: Principal): Promise<boolean> {
  return link.owner.mode === "discovery" ? isAdmin(caller) : mayStart(parts, link, caller);
}

/** A link of another kind is 404 here, like one that does not exist. */
async function getHeaderLink(
  parts: ConnectParts,
  id: string,
  caller: Principal,
): Promise<{ link: Link; upstream: Upstream }> {
  const link = await getVisible(parts, id, caller);
  const upstream = parts.upstreams.find(link.upstreamId);
  if (!isPerUserHeaders(upstream)) throw unknownLink();
  return { link, upstream };
}
