import { z } from "zod";
import { json, noContent, type Route } from "../http/index.ts";
import { type Principal, route } from "../identity/index.ts";
import { discoveryRoutes } from "./discovery.ts";
import { ScimGroups } from "./groups.ts";
import { listOf, listQuery, wantedQuery } from "./listing.ts";
import { patchBody } from "./operations.ts";
import type { Asking, ScimParts } from "./parts.ts";
import { type Answered, ScimUsers } from "./users.ts";
import { isKnown } from "./version.ts";

const id = z.object({ id: z.string().min(1).max(128) });
const body = z.record(z.string(), z.unknown());

const meta = z.looseObject({
  resourceType: z.string(),
  location: z.url(),
  created: z.iso.datetime(),
  lastModified: z.iso.datetime(),
  version: z.string(),
});
const resource = z.looseObject({ schemas: z.array(z.string()), id: z.string(), meta: meta.optional() });
const listAnswer = z.object({
  schemas: z.array(z.string()),
  totalResults: z.int(),
  startIndex: z.int(),
  itemsPerPage: z.int(),
  Resources: z.array(resource),
});

const etag = { ETag: "The version, for If-Match and If-None-Match" };
const common = { tag: "SCIM", access: "admin", rate: "api", errors: "scim" } as const;
const read = { ...common, csrf: "none" } as const;
const write = { ...common, csrf: "session" } as const;
const one = { description: "The resource", schema: resource, headers: etag };

/** People and groups as an identity provider keeps them (RFC 7644), and what says so. */
export function scimRoutes(parts: ScimParts): Route[] {
  const users = new ScimUsers(parts);
  const groups = new ScimGroups(parts);
  return [
    ...discoveryRoutes(parts),
    ...readRoutes("User", users),
    ...readRoutes("Group", groups),
    ...writeRoutes("User", users),
    ...writeRoutes("Group", groups),
    patchUser(users),
    patchGroup(groups),
  ];
}

type Store = Pick<ScimUsers, "get" | "list" | "create" | "replace" | "delete">;

function readRoutes(name: "User" | "Group", store: Store): Route[] {
  const path = `/scim/v2/${name}s`;
  return [
    route({
      ...read,
      method: "GET",
      path,
      operationId: `listScim${name}s`,
      summary: `${name}s that match a filter, a page of them`,
      query: listQuery,
      refuses: [],
      answers: { 200: { description: "A page", schema: listAnswer } },
      handle: async ({ query }) => {
        const { resources, total } = await store.list(query);
        return scim(listOf(query, total, resources));
      },
    }),
    route({
      ...read,
      method: "GET",
      path: `${path}/{id}`,
      operationId: `getScim${name}`,
      summary: `One ${name.toLowerCase()}`,
      params: id,
      query: wantedQuery,
      refuses: [],
      answers: {
        200: one,
        304: { description: "The version that `If-None-Match` names is the present one" },
      },
      handle: async ({ params, query, request }) => {
        const found = await store.get(params.id, query);
        if (isKnown(request, found.version)) return unchanged(found.version);
        return answer(found);
      },
    }),
  ];
}

function writeRoutes(name: "User" | "Group", store: Store): Route[] {
  const path = `/scim/v2/${name}s`;
  return [
    route({
      ...write,
      method: "POST",
      path,
      operationId: `createScim${name}`,
      summary: `Makes a ${name.toLowerCase()}`,
      json: body,
      query: wantedQuery,
      refuses: [409],
      answers: { 201: { ...one, description: "Made", headers: { ...etag, Location: "Where it is" } } },
      handle: async (context) =>
        answer(await store.create(context.body, context.query, asking(context)), 201),
    }),
    route({
      ...write,
      method: "PUT",
      path: `${path}/{id}`,
      operationId: `replaceScim${name}`,
      summary: `Makes the ${name.toLowerCase()} what the body says`,
      params: id,
      json: body,
      query: wantedQuery,
      refuses: [409, 412],
      answers: { 200: one },
      handle: async (context) =>
        answer(await store.replace(context.params.id, context.body, context.query, asking(context))),
    }),
    route({
      ...write,
      method: "DELETE",
      path: `${path}/{id}`,
      operationId: `deleteScim${name}`,
      summary:
        name === "User"
          ? "Removes a person with their credentials, grants, virtual keys and tokens"
          : "Removes a group with what it gives",
      params: id,
      refuses: [409, 412],
      answers: { 204: { description: "Removed" } },
      handle: async (context) => {
        await store.delete(context.params.id, asking(context));
        return noContent();
      },
    }),
  ];
}

function patchUser(users: ScimUsers): Route {
  return route({
    ...write,
    method: "PATCH",
    path: "/scim/v2/Users/{id}",
    operationId: "patchScimUser",
    summary: "Changes a user by operations, all of them or none",
    params: id,
    json: patchBody,
    query: wantedQuery,
    refuses: [409, 412],
    answers: { 200: one },
    handle: async (context) =>
      answer(await users.patch(context.params.id, context.body, context.query, asking(context))),
  });
}

function patchGroup(groups: ScimGroups): Route {
  return route({
    ...write,
    method: "PATCH",
    path: "/scim/v2/Groups/{id}",
    operationId: "patchScimGroup",
    summary: "Changes a group by operations, all of them or none",
    params: id,
    json: patchBody,
    refuses: [409, 412],
    answers: { 204: { description: "Changed; a large group is not sent back", headers: etag } },
    handle: async (context) =>
      noContent({ etag: await groups.patch(context.params.id, context.body, asking(context)) }),
  });
}

function asking({
  caller,
  requestId,
  request,
}: {
  caller: Principal;
  requestId: string;
  request: Request;
}): Asking {
  return { caller, requestId, request };
}

/** RFC 7644 §3.1, §3.3. */
function answer({ resource: found, version }: Answered, status = 200): Response {
  const { location } = (found.meta ?? {}) as { location?: string };
  return scim(found, status, {
    etag: version,
    ...(status === 201 && location !== undefined ? { location } : {}),
  });
}

function unchanged(version: string): Response {
  return new Response(null, { status: 304, headers: { etag: version } });
}

export function scim(value: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return json(value, status, { ...headers, "content-type": "application/scim+json" });
}
