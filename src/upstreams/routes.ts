import { z } from "zod";
import { Problem } from "../base/index.ts";
import { commaList, json, pageAnswer, pageQuery, type Route } from "../http/index.ts";
import { isAdmin, type Principal, route } from "../identity/index.ts";
import { Administration } from "./administration.ts";
import type { AdministrationParts } from "./administration-parts.ts";
import { clientDocument, shownUpstream, upstreamAnswer } from "./answers.ts";
import { consentRoutes } from "./consent-routes.ts";
import { definitionBody, definitionPatch } from "./definition.ts";
import { toolRoutes } from "./tool-routes.ts";
import { authTypes, connectionTypes, type Upstream, upstreamStates } from "./upstream.ts";
import { clientRow, visibleRow } from "./view.ts";

const id = z.object({ id: z.string().max(128) });
const common = { tag: "MCP clients", rate: "api", errors: "envelope" } as const;
const adminWrite = { ...common, access: "admin", csrf: "session" } as const;

const listQuery = z.object({
  ...pageQuery({ max: 100, default: 25 }),
  search: z.string().max(128).optional(),
  connection_type: commaList(connectionTypes),
  auth_type: commaList(authTypes),
  state: commaList(upstreamStates),
});

/** The upstream part of contract section 7, and our client documents of section 6. */
export function upstreamRoutes(parts: AdministrationParts): Route[] {
  const administration = new Administration(parts);
  return [
    listRoute(parts),
    ...changeRoutes(administration),
    ...connectionRoutes(administration),
    ...consentRoutes(parts),
    ...toolRoutes(parts),
    clientDocumentRoute(parts),
  ];
}

function listRoute(parts: AdministrationParts): Route {
  return route({
    ...common,
    method: "GET",
    path: "/api/mcp/clients",
    operationId: "listMcpClients",
    summary: "The MCP clients (upstreams); who is no administrator sees the names of those they may use",
    access: "management",
    csrf: "none",
    query: listQuery,
    refuses: [],
    answers: {
      200: { description: "A page of them, by name", schema: pageAnswer("clients", shownUpstream) },
    },
    handle: async ({ query, caller }) => {
      const matching = (await visibleUpstreams(parts, caller)).filter((upstream) => matches(upstream, query));
      const page = matching.slice(query.offset, query.offset + query.limit);
      const clients = isAdmin(caller) ? await fullRows(parts, page) : page.map(visibleRow);
      const { limit, offset } = query;
      return json({ clients, count: clients.length, total_count: matching.length, limit, offset });
    },
  });
}

async function visibleUpstreams(parts: AdministrationParts, caller: Principal): Promise<readonly Upstream[]> {
  const all = parts.upstreams.all();
  if (isAdmin(caller)) return all;
  const visible = await parts.visible(caller);
  return all.filter((upstream) => !upstream.disabled && visible.has(upstream.id));
}

async function fullRows(parts: AdministrationParts, page: readonly Upstream[]) {
  const keyConfigs = await parts.keyConfigs.read(page.map((upstream) => upstream.id));
  return page.map((upstream) => clientRow(upstream, keyConfigs.get(upstream.id) ?? []));
}

function matches(upstream: Upstream, query: z.output<typeof listQuery>): boolean {
  const search = query.search?.toLowerCase();
  return (
    (search === undefined || upstream.name.toLowerCase().includes(search)) &&
    (query.connection_type?.includes(upstream.connectionType) ?? true) &&
    (query.auth_type?.includes(upstream.authType) ?? true) &&
    (query.state?.includes(upstream.state) ?? true)
  );
}

function changeRoutes(administration: Administration): Route[] {
  return [
    route({
      ...adminWrite,
      method: "POST",
      path: "/api/mcp/client",
      operationId: "createMcpClient",
      summary: "Adds an MCP client (upstream)",
      json: definitionBody,
      refuses: [409, 422, 502, 504],
      answers: {
        200: {
          description: "Created, or waiting for an account that lists its tools",
          schema: upstreamAnswer,
        },
      },
      handle: async ({ body, caller, requestId }) =>
        json(await administration.create(body, { caller, requestId })),
    }),
    route({
      ...adminWrite,
      method: "PUT",
      path: "/api/mcp/client/{id}",
      operationId: "updateMcpClient",
      summary: "Changes the fields that are sent",
      params: id,
      json: definitionPatch,
      refuses: [409, 422, 502, 504],
      answers: { 200: { description: "Changed", schema: upstreamAnswer } },
      handle: async ({ params, body, caller, requestId }) =>
        json(await administration.update(params.id, body, { caller, requestId })),
    }),
    route({
      ...adminWrite,
      method: "DELETE",
      path: "/api/mcp/client/{id}",
      operationId: "deleteMcpClient",
      summary: "Removes it and every credential for it",
      params: id,
      refuses: [409],
      answers: { 200: { description: "Deleted", schema: upstreamAnswer } },
      handle: async ({ params, caller, requestId }) =>
        json(await administration.delete(params.id, { caller, requestId })),
    }),
  ];
}

function connectionRoutes(administration: Administration): Route[] {
  return [
    route({
      ...adminWrite,
      method: "POST",
      path: "/api/mcp/client/{id}/reconnect",
      operationId: "reconnectMcpClient",
      summary: "Looks for its authorization server anew and reads its tools",
      params: id,
      refuses: [409, 422, 502, 504],
      answers: { 200: { description: "It answers, or an account is needed first", schema: upstreamAnswer } },
      handle: async ({ params, caller, requestId }) =>
        json(await administration.reconnect(params.id, { caller, requestId })),
    }),
    route({
      ...adminWrite,
      method: "POST",
      path: "/api/mcp/client/{id}/refresh-tools",
      operationId: "refreshMcpClientTools",
      summary: "Reads its tool list now",
      params: id,
      refuses: [409, 502, 504],
      answers: { 200: { description: "Read", schema: upstreamAnswer } },
      handle: async ({ params }) => json(await administration.refreshTools(params.id)),
    }),
  ];
}

function clientDocumentRoute({ upstreams, oauth }: AdministrationParts): Route {
  return route({
    ...common,
    method: "GET",
    path: "/oauth/client/{document}",
    operationId: "getClientDocument",
    summary: "Who we are to an upstream's authorization server (Client ID Metadata Document)",
    access: "public",
    csrf: "none",
    cors: true,
    params: z.object({ document: z.string().max(140) }),
    refuses: [],
    answers: {
      200: {
        description: "The document; {document} is the MCP client's id with .json",
        schema: clientDocument,
        headers: { "Cache-Control": "An hour." },
      },
    },
    handle: ({ params }) => {
      const [, upstreamId] = /^(.+)\.json$/.exec(params.document) ?? [];
      const upstream = upstreamId === undefined ? undefined : upstreams.find(upstreamId);
      if (upstream?.oauth)
        return json(oauth.clientDocument(upstream), 200, { "cache-control": "max-age=3600" });
      throw new Problem(
        "not_found",
        "client_document_not_found",
        "There is no such client document. Check the address.",
      );
    },
  });
}
