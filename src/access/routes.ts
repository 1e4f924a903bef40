import { z } from "zod";
import type { Audit } from "../audit/index.ts";
import { Problem, type Settings, type World } from "../base/index.ts";
import { json, pageAnswer, pageQuery, type Route } from "../http/index.ts";
import { actorOf, type Principal, route } from "../identity/index.ts";
import type { Upstreams } from "../upstreams/index.ts";
import { keyAnswer, messageAnswer, shownKey } from "./answers.ts";
import { type KeyPatchBody, keyBody, keyPatchBody, resolveConfigs, rotateBody } from "./key-body.ts";
import { keyPrefix, type VirtualKey } from "./virtual-key.ts";
import type { AlsoKey, VirtualKeys } from "./virtual-keys.ts";

export interface KeyRoutesParts {
  keys: VirtualKeys;
  upstreams: Upstreams;
  audit: Audit;
  world: World;
  settings: Pick<Settings, "keyGraceMs">;
}

const path = "/api/governance/virtual-keys";
const id = z.object({ id: z.string().max(128) });
const common = { tag: "Virtual keys", access: "admin", rate: "api", errors: "envelope" } as const;
const read = { ...common, csrf: "none" } as const;
const write = { ...common, csrf: "session" } as const;
const listQuery = z.object({
  ...pageQuery({ max: 100, default: 25 }),
  search: z.string().max(128).optional(),
  user_id: z.string().max(128).optional(),
});

/** The virtual-key part of contract section 7; administrators only. */
export function virtualKeyRoutes(parts: KeyRoutesParts): Route[] {
  return [
    ...readRoutes(parts),
    createRoute(parts),
    updateRoute(parts),
    rotateRoute(parts),
    deleteRoute(parts),
  ];
}

function readRoutes({ keys, upstreams, world }: KeyRoutesParts): Route[] {
  return [
    route({
      ...read,
      method: "GET",
      path,
      operationId: "listVirtualKeys",
      summary: "The virtual keys, oldest first",
      query: listQuery,
      refuses: [],
      answers: {
        200: { description: "A page of them; values never", schema: pageAnswer("virtual_keys", shownKey) },
      },
      handle: async ({ query: { limit, offset, search, user_id } }) => {
        const { keys: page, total } = await keys.list({ limit, offset, search, userId: user_id });
        const virtual_keys = page.map((key) => view(key, upstreams, world));
        return json({ virtual_keys, count: page.length, total_count: total, limit, offset });
      },
    }),
    route({
      ...read,
      method: "GET",
      path: `${path}/{id}`,
      operationId: "getVirtualKey",
      summary: "One virtual key",
      params: id,
      refuses: [],
      answers: { 200: { description: "It; its value never", schema: z.object({ virtual_key: shownKey }) } },
      handle: async ({ params }) => json({ virtual_key: view(await keys.get(params.id), upstreams, world) }),
    }),
  ];
}

function createRoute({ keys, upstreams, audit, world }: KeyRoutesParts): Route {
  return route({
    ...write,
    method: "POST",
    path,
    operationId: "createVirtualKey",
    summary: "Makes a virtual key; its value is in this answer and nowhere else",
    json: keyBody,
    refuses: [409],
    answers: { 200: { description: "Created", schema: keyAnswer } },
    handle: async ({ body, caller, requestId }) => {
      const { key, value } = await keys.create(
        {
          name: body.name,
          description: body.description,
          isActive: body.is_active,
          expiresAt: body.expires_at ?? undefined,
          userId: body.user_id ?? undefined,
          configs: resolveConfigs(upstreams, body.mcp_configs ?? []),
          source: "api",
        },
        auditLine(audit, "virtual_key.created", caller, requestId),
      );
      const virtual_key = { ...view(key, upstreams, world), value: value.reveal() };
      return json({ message: "Virtual key created. Keep its value: it is shown only now.", virtual_key });
    },
  });
}

function updateRoute({ keys, upstreams, audit, world }: KeyRoutesParts): Route {
  return route({
    ...write,
    method: "PUT",
    path: `${path}/{id}`,
    operationId: "updateVirtualKey",
    summary: "Changes the fields that are sent",
    params: id,
    json: keyPatchBody,
    refuses: [409],
    answers: { 200: { description: "Changed", schema: keyAnswer } },
    handle: async ({ params, body, caller, requestId }) => {
      refuseChange(await keys.get(params.id), body);
      const key = await keys.update(
        params.id,
        {
          name: body.name,
          description: body.description,
          isActive: body.is_active,
          expiresAt: body.expires_at,
          configs: body.mcp_configs && resolveConfigs(upstreams, body.mcp_configs),
        },
        auditLine(audit, "virtual_key.updated", caller, requestId, { fields: Object.keys(body) }),
      );
      return json({ message: "Virtual key changed.", virtual_key: view(key, upstreams, world) });
    },
  });
}

function rotateRoute({ keys, upstreams, audit, world, settings }: KeyRoutesParts): Route {
  return route({
    ...write,
    method: "POST",
    path: `${path}/{id}/rotate`,
    operationId: "rotateVirtualKey",
    summary: "Gives a virtual key a new value; the old one counts a while longer",
    params: id,
    json: rotateBody,
    refuses: [409],
    answers: { 200: { description: "The new value, here and nowhere else", schema: keyAnswer } },
    handle: async ({ params, body, caller, requestId }) => {
      const grace = body?.grace_period_s;
      const graceMs = grace === undefined ? settings.keyGraceMs : grace * 1000;
      const { key, value } = await keys.rotate(
        params.id,
        graceMs,
        auditLine(audit, "virtual_key.rotated", caller, requestId, { grace_period_s: graceMs / 1000 }),
      );
      const virtual_key = { ...view(key, upstreams, world), value: value.reveal() };
      return json({ message: "Virtual key rotated. Keep its new value: it is shown only now.", virtual_key });
    },
  });
}

function deleteRoute({ keys, audit }: KeyRoutesParts): Route {
  return route({
    ...write,
    method: "DELETE",
    path: `${path}/{id}`,
    operationId: "deleteVirtualKey",
    summary: "Removes a virtual key with its credentials and grants",
    params: id,
    refuses: [409],
    answers: { 200: { description: "Deleted", schema: messageAnswer } },
    handle: async ({ params, caller, requestId }) => {
      const key = await keys.get(params.id);
      // One that is switched on in the file would come back at the next start.
      if (key.isActive) refuseFileManaged(key);
      await keys.delete(params.id, auditLine(audit, "virtual_key.deleted", caller, requestId));
      return json({ message: "Virtual key deleted." });
    },
  });
}

function refuseChange(key: VirtualKey, body: KeyPatchBody): void {
  refuseFileManaged(key);
  if (body.user_id === undefined || (body.user_id ?? undefined) === key.userId) return;
  throw new Problem(
    "invalid",
    "immutable_field",
    "The user of a key never changes. Make a new key instead.",
    {
      param: "user_id",
    },
  );
}

function refuseFileManaged(key: VirtualKey): void {
  if (key.source !== "file") return;
  throw new Problem(
    "conflict",
    "managed_by_file",
    "This virtual key is declared in the configuration file. Change it there and restart.",
  );
}

function auditLine(audit: Audit, event: string, caller: Principal, requestId: string, detail = {}): AlsoKey {
  return (tx, { id: key, name }) =>
    audit.append(tx, {
      event,
      actor: actorOf(caller),
      requestId,
      detail: { virtual_key_id: key, name, ...detail },
    });
}

function view(key: VirtualKey, upstreams: Upstreams, world: World) {
  const { previousValueExpiresAt: previousEnds = 0 } = key;
  return {
    id: key.id,
    name: key.name,
    description: key.description,
    value: `${keyPrefix}…${key.valueTail}`,
    previous_value_expires_at:
      previousEnds > world.now().getTime() ? new Date(previousEnds).toISOString() : null,
    is_active: key.isActive,
    expires_at: key.expiresAt === undefined ? null : new Date(key.expiresAt).toISOString(),
    user_id: key.userId ?? null,
    source: key.source,
    mcp_configs: key.configs.map(({ upstreamId, tools }) => ({
      mcp_client_id: upstreamId,
      mcp_client_name: upstreams.find(upstreamId)?.name,
      tools_to_execute: tools,
    })),
    created_at: new Date(key.createdAt).toISOString(),
    updated_at: new Date(key.updatedAt).toISOString(),
  };
}
