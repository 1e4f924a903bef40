import { z } from "zod";
import type { Audit } from "../audit/index.ts";
import { Problem, type Settings } from "../base/index.ts";
import { json, pageAnswer, pageQuery, type Route } from "../http/index.ts";
import { actorOf, type Principal, route } from "../identity/index.ts";
import type { Upstreams } from "../upstreams/index.ts";
import { messageAnswer, shownVirtualMcp, virtualMcpAnswer } from "./answers.ts";
import type { VirtualMcp } from "./virtual-mcp.ts";
import {
  resolveBundle,
  type VirtualMcpPatchBody,
  virtualMcpBody,
  virtualMcpPatchBody,
} from "./virtual-mcp-body.ts";
import { viewVirtualMcp } from "./virtual-mcp-view.ts";
import type { AlsoVirtualMcp, VirtualMcps } from "./virtual-mcps.ts";

export interface VirtualMcpRoutesParts {
  virtualMcps: VirtualMcps;
  upstreams: Upstreams;
  audit: Audit;
  settings: Pick<Settings, "baseUrl">;
}

const path = "/api/mcp/virtual-mcps";
const id = z.object({ id: z.string().max(128) });
const common = { tag: "Virtual MCPs", access: "admin", rate: "api", errors: "envelope" } as const;
const read = { ...common, csrf: "none" } as const;
const write = { ...common, csrf: "session" } as const;
const listQuery = z.object({
  ...pageQuery({ max: 100, default: 25 }),
  search: z.string().max(128).optional(),
});

/** The virtual-MCP part of contract section 7; administrators only. */
export function virtualMcpRoutes(parts: VirtualMcpRoutesParts): Route[] {
  return [...readRoutes(parts), createRoute(parts), updateRoute(parts), deleteRoute(parts)];
}

function readRoutes(parts: VirtualMcpRoutesParts): Route[] {
  const { virtualMcps } = parts;
  return [
    route({
      ...read,
      method: "GET",
      path,
      operationId: "listVirtualMcps",
      summary: "The virtual MCPs, oldest first",
      query: listQuery,
      refuses: [],
      answers: {
        200: { description: "A page of them", schema: pageAnswer("virtual_mcps", shownVirtualMcp) },
      },
      handle: async ({ query: { limit, offset, search } }) => {
        const { virtualMcps: found, total } = await virtualMcps.list({ limit, offset, search });
        const virtual_mcps = found.map((virtualMcp) => viewVirtualMcp(parts, virtualMcp));
        return json({ virtual_mcps, count: found.length, total_count: total, limit, offset });
      },
    }),
    route({
      ...read,
      method: "GET",
      path: `${path}/{id}`,
      operationId: "getVirtualMcp",
      summary: "One virtual MCP",
      params: id,
      refuses: [],
      answers: { 200: { description: "It", schema: z.object({ virtual_mcp: shownVirtualMcp }) } },
      handle: async ({ params }) =>
        json({ virtual_mcp: viewVirtualMcp(parts, await virtualMcps.get(params.id)) }),
    }),
  ];
}

function createRoute(parts: VirtualMcpRoutesParts): Route {
  const { virtualMcps, upstreams, audit } = parts;
  return route({
    ...write,
    method: "POST",
    path,
    operationId: "createVirtualMcp",
    summary: "Makes a bundle of tools with an address of its own, /mcp/{slug}",
    json: virtualMcpBody,
    refuses: [409],
    answers: { 200: { description: "Created", schema: virtualMcpAnswer } },
    handle: async ({ body, caller, requestId }) => {
      const { slug, name, description, disabled, names, listing } = body;
      const created = await virtualMcps.create(
        {
          slug,
          name,
          description,
          disabled,
          names,
          listing,
          upstreams: resolveBundle(upstreams, body) ?? [],
          virtualKeyIds: body.virtual_key_ids ?? [],
          userIds: body.user_ids ?? [],
          groupIds: body.group_ids ?? [],
          source: "api",
        },
        auditLine(audit, "virtual_mcp.created", caller, requestId),
      );
      return json({ message: "Virtual MCP created.", virtual_mcp: viewVirtualMcp(parts, created) });
    },
  });
}

function updateRoute(parts: VirtualMcpRoutesParts): Route {
  const { virtualMcps, upstreams, audit } = parts;
  return route({
    ...write,
    method: "PUT",
    path: `${path}/{id}`,
    operationId: "updateVirtualMcp",
    summary: "Changes the fields that are sent",
    params: id,
    json: virtualMcpPatchBody,
    refuses: [409],
    answers: { 200: { description: "Changed", schema: virtualMcpAnswer } },
    handle: async ({ params, body, caller, requestId }) => {
      const changed = await virtualMcps.update(
        params.id,
        (before) => {
          refuseChange(before, body);
          return {
            name: body.name,
            description: body.description,
            disabled: body.disabled,
            names: body.names,
            listing: body.listing,
            upstreams: resolveBundle(upstreams, body, before),
            virtualKeyIds: body.virtual_key_ids,
            userIds: body.user_ids,
            groupIds: body.group_ids,
          };
        },
        auditLine(audit, "virtual_mcp.updated", caller, requestId, { fields: Object.keys(body) }),
      );
      return json({ message: "Virtual MCP changed.", virtual_mcp: viewVirtualMcp(parts, changed) });
    },
  });
}

function deleteRoute({ virtualMcps, audit }: VirtualMcpRoutesParts): Route {
  return route({
    ...write,
    method: "DELETE",
    path: `${path}/{id}`,
    operationId: "deleteVirtualMcp",
    summary: "Removes a virtual MCP with the grants for its address",
    params: id,
    refuses: [409],
    answers: { 200: { description: "Deleted", schema: messageAnswer } },
    handle: async ({ params, caller, requestId }) => {
      const virtualMcp = await virtualMcps.get(params.id);
      // One that is switched on in the file would come back at the next start.
      if (!virtualMcp.disabled) refuseFileManaged(virtualMcp);
      await virtualMcps.delete(params.id, auditLine(audit, "virtual_mcp.deleted", caller, requestId));
      return json({ message: "Virtual MCP deleted." });
    },
  });
}

function refuseChange(virtualMcp: VirtualMcp, body: VirtualMcpPatchBody): void {
  refuseFileManaged(virtualMcp);
  if (body.slug === undefined || body.slug === virtualMcp.slug) return;
  throw new Problem(
    "invalid",
    "immutable_field",
    "The slug of a virtual MCP never changes: clients hold tokens for its address. Make a new one instead.",
    { param: "slug" },
  );
}

function refuseFileManaged(virtualMcp: VirtualMcp): void {
  if (virtualMcp.source !== "file") return;
  throw new Problem(
    "conflict",
    "managed_by_file",
    "This virtual MCP is declared in the configuration file. Change it there and restart.",
  );
}

function auditLine(
  audit: Audit,
  event: string,
  caller: Principal,
  requestId: string,
  detail = {},
): AlsoVirtualMcp {
  return (tx, { id: virtualMcpId, slug, name }) =>
    audit.append(tx, {
      event,
      actor: actorOf(caller),
      requestId,
      detail: { virtual_mcp_id: virtualMcpId, slug, name, ...detail },
    });
}
