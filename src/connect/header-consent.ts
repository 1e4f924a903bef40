import { z } from "zod";
import { Problem } from "../base/index.ts";
import type { Route } from "../http/index.ts";
import { route } from "../identity/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { takeHeaderForm } from "./header-form.ts";
import { headerPage } from "./header-page.ts";
import { startLink } from "./links.ts";
import { type ConnectParts, isPerUserHeaders } from "./parts.ts";

const path = "/oauth/consent/headers";
const id = z.string().min(1).max(200);

/** Connect on the services page, for services that take header values: a form inside the consent (contract section 3). */
export function consentHeaderRoutes(parts: ConnectParts): Route[] {
  const common = {
    path,
    tag: "consent",
    access: "browser",
    rate: "authorize",
    errors: "form",
  } as const;
  return [
    route({
      ...common,
      method: "GET",
      operationId: "consentHeadersPage",
      summary: "The header form of a service, during a consent",
      csrf: "none",
      query: z.object({
        mcp_client_id: id,
        flow_id: id,
        error: z.string().max(100).optional(),
        field: z.string().max(128).optional(),
      }),
      refuses: [401, 403, 404, 409, 410],
      answers: { 200: { description: "One input for each header" } },
      handle: async ({ request, query: { mcp_client_id, flow_id, error, field } }) => {
        const upstream = getUpstream(parts, mcp_client_id);
        const pass = await parts.consentGate(request, flow_id, upstream.id);
        return headerPage({
          upstream,
          identity: pass.display,
          action: path,
          hidden: { mcp_client_id, flow_id },
          error,
          field,
          back: pass.returnTo,
          client: pass.client,
        });
      },
    }),
    route({
      ...common,
      method: "POST",
      operationId: "consentHeadersSubmit",
      summary: "Verify the header values and keep them for this consent",
      csrf: "flow",
      form: z.object({ mcp_client_id: id, flow_id: id }).catchall(z.string()),
      refuses: [401, 403, 404, 409, 410],
      answers: { 303: { description: "To the services page, or back to the form with `error`" } },
      handle: async ({ request, body }) => {
        const { mcp_client_id, flow_id, ...form } = body;
        const upstream = getUpstream(parts, mcp_client_id);
        const pass = await parts.consentGate(request, flow_id, upstream.id);
        const owner = { mode: "flow" as const, id: pass.flowId };
        const binding = { owner, upstreamId: upstream.id, account: "" };
        const { flowId: parentId, returnTo } = pass;
        const link = await startLink(parts, binding, { parentId, returnTo });
        const here = `${path}?${new URLSearchParams({ mcp_client_id, flow_id })}`;
        return takeHeaderForm({ parts, link, upstream, form, here, done: returnTo, actor: "system" });
      },
    }),
  ];
}

function getUpstream(parts: ConnectParts, upstreamId: string): Upstream {
  const upstream = parts.upstreams.find(upstreamId);
  if (isPerUserHeaders(upstream)) return upstream;
  throw new Problem("not_found", "upstream_not_found", "There is no such service to connect here.");
}
