import { z } from "zod";
import type { Database, Tx } from "../db/index.ts";
import { json, noContent, type Route } from "../http/index.ts";
import {
  changedGroupAnswer,
  type GroupGifts,
  groupAnswer,
  groupBody,
  groupPatchBody,
  groupQuery,
  groupsAnswer,
  memberQuery,
  membersAnswer,
  membersBody,
  movedAnswer,
  viewGroup,
  viewMember,
} from "./group-body.ts";
import { type Group, type Groups, shownMoves } from "./groups.ts";
import { actorOf, type Principal } from "./principal.ts";
import type { Recorder } from "./recorder.ts";
import { route } from "./route.ts";

export interface GroupRoutesParts {
  database: Database;
  groups: Groups;
  gifts: GroupGifts;
  record: Recorder;
}

const path = "/api/groups";
const id = z.object({ id: z.string().max(128) });
const common = { tag: "Groups", access: "admin", rate: "api", errors: "envelope" } as const;
const read = { ...common, csrf: "none", refuses: [] } as const;
const write = { ...common, csrf: "session" } as const;

/** Groups, what they give, and who is in them; administrators only. */
export function groupRoutes(parts: GroupRoutesParts): Route[] {
  return [
    ...readRoutes(parts),
    createRoute(parts),
    updateRoute(parts),
    deleteRoute(parts),
    membersRoute(parts),
    replaceMembersRoute(parts),
    addMembersRoute(parts),
    removeMemberRoute(parts),
  ];
}

function readRoutes(parts: GroupRoutesParts): Route[] {
  const { groups } = parts;
  return [
    route({
      ...read,
      method: "GET",
      path,
      operationId: "listGroups",
      summary: "The groups, by name",
      query: groupQuery,
      answers: { 200: { description: "A page of them", schema: groupsAnswer } },
      handle: async ({ query: { limit, offset, search, source } }) => {
        const { groups: page, total } = await groups.list({ limit, offset, search, source });
        const rows = await viewAll(parts, page);
        return json({ groups: rows, count: rows.length, total_count: total, limit, offset });
      },
    }),
    route({
      ...read,
      method: "GET",
      path: `${path}/{id}`,
      operationId: "getGroup",
      summary: "One group",
      params: id,
      answers: { 200: { description: "It", schema: groupAnswer } },
      handle: async ({ params }) => json({ group: await view(parts, await groups.get(params.id)) }),
    }),
  ];
}

function createRoute(parts: GroupRoutesParts): Route {
  const { database, groups, gifts, record } = parts;
  return route({
    ...write,
    method: "POST",
    path,
    operationId: "createGroup",
    summary: "Makes a group",
    json: groupBody,
    answers: { 200: { description: "Created", schema: changedGroupAnswer } },
    refuses: [409],
    handle: async ({ body, caller, requestId }) => {
      const { name, description, role, mcp_configs = [], virtual_mcp_ids, user_ids = [] } = body;
      const configs = gifts.resolve(mcp_configs);
      const group = await database.transaction(async (tx) => {
        const made = await groups.insert(tx, { name, description, role: role ?? undefined, source: "api" });
        await gifts.replace(tx, made.id, { configs, virtualMcpIds: virtual_mcp_ids });
        await groups.change(tx, made.id, { add: user_ids, via: "api" });
        await line(record, "group.created", caller, requestId, { role, members: user_ids.length })(tx, made);
        return made;
      });
      return json({ message: "Group made.", group: await view(parts, group) });
    },
  });
}

function updateRoute(parts: GroupRoutesParts): Route {
  const { database, groups, gifts, record } = parts;
  return route({
    ...write,
    method: "PUT",
    path: `${path}/{id}`,
    operationId: "updateGroup",
    summary: "Changes the fields that are sent",
    params: id,
    json: groupPatchBody,
    answers: { 200: { description: "Changed", schema: changedGroupAnswer } },
    refuses: [409],
    handle: async ({ params, body, caller, requestId }) => {
      const { name, description, role, virtual_mcp_ids: virtualMcpIds } = body;
      const configs = body.mcp_configs && gifts.resolve(body.mcp_configs);
      const detail = { fields: Object.keys(body), role };
      const group = await database.transaction(async (tx) => {
        const after = await groups.update(tx, params.id, { name, description, role });
        await gifts.replace(tx, after.id, { configs, virtualMcpIds });
        if (configs) await groups.gives(tx, after.id);
        await line(record, "group.updated", caller, requestId, detail)(tx, after);
        return after;
      });
      return json({ message: "Group changed.", group: await view(parts, group) });
    },
  });
}

function deleteRoute({ database, groups, record }: GroupRoutesParts): Route {
  return route({
    ...write,
    method: "DELETE",
    path: `${path}/{id}`,
    operationId: "deleteGroup",
    summary: "Removes a group; its members lose what only it gave them",
    params: id,
    answers: { 204: { description: "Removed" } },
    refuses: [409],
    handle: async ({ params, caller, requestId }) => {
      await database.transaction(async (tx) => {
        const group = await groups.delete(tx, params.id);
        await line(record, "group.deleted", caller, requestId)(tx, group);
      });
      return noContent();
    },
  });
}

function membersRoute({ groups }: GroupRoutesParts): Route {
  return route({
    ...read,
    method: "GET",
    path: `${path}/{id}/members`,
    operationId: "listMembers",
    summary: "Who is in a group, by e-mail address",
    params: id,
    query: memberQuery,
    answers: { 200: { description: "A page of them", schema: membersAnswer } },
    handle: async ({ params, query: { limit, offset, search } }) => {
      await groups.get(params.id);
      const { members, total } = await groups.members(params.id, { limit, offset, search });
      return json({
        members: members.map(viewMember),
        count: members.length,
        total_count: total,
        limit,
        offset,
      });
    },
  });
}

function replaceMembersRoute(parts: GroupRoutesParts): Route {
  return route({
    ...write,
    method: "PUT",
    path: `${path}/{id}/members`,
    operationId: "replaceMembers",
    summary: "Makes these people all that are in a group",
    params: id,
    json: membersBody,
    answers: { 200: { description: "Who came and went", schema: movedAnswer } },
    refuses: [409],
    handle: ({ params, body, caller, requestId }) =>
      move(parts, params.id, { caller, requestId }, (tx) =>
        parts.groups.replace(tx, params.id, body.user_ids, "api"),
      ),
  });
}

function addMembersRoute(parts: GroupRoutesParts): Route {
  return route({
    ...write,
    method: "POST",
    path: `${path}/{id}/members`,
    operationId: "addMembers",
    summary: "Puts people into a group; who is in stays",
    params: id,
    json: membersBody,
    answers: { 200: { description: "Who came", schema: movedAnswer } },
    refuses: [409],
    handle: ({ params, body, caller, requestId }) =>
      move(parts, params.id, { caller, requestId }, (tx) =>
        parts.groups.change(tx, params.id, { add: body.user_ids, via: "api" }),
      ),
  });
}

function removeMemberRoute(parts: GroupRoutesParts): Route {
  return route({
    ...write,
    method: "DELETE",
    path: `${path}/{id}/members/{user_id}`,
    operationId: "removeMember",
    summary: "Takes a person out of a group; one who is not in it stays out",
    params: z.object({ id: z.string().max(128), user_id: z.string().max(128) }),
    answers: { 200: { description: "Who went", schema: movedAnswer } },
    refuses: [409],
    handle: ({ params, caller, requestId }) =>
      move(parts, params.id, { caller, requestId }, (tx) =>
        parts.groups.change(tx, params.id, { remove: [params.user_id], via: "api" }),
      ),
  });
}

async function move(
  { database, groups, record }: GroupRoutesParts,
  groupId: string,
  { caller, requestId }: { caller: Principal; requestId: string },
  work: (tx: Tx) => Promise<{ added: string[]; removed: string[] }>,
): Promise<Response> {
  const { added, removed } = await database.transaction(async (tx) => {
    const group = await groups.locked(tx, groupId);
    const moved = await work(tx);
    await line(record, "group.members_changed", caller, requestId, shownMoves(moved))(tx, group);
    return moved;
  });
  return json({ message: "Members changed.", added: added.length, removed: removed.length });
}

function line(
  record: Recorder,
  event: string,
  caller: Principal,
  requestId: string,
  detail: Record<string, unknown> = {},
): (tx: Tx, group: Group) => Promise<void> {
  return (tx, group) =>
    record(tx, {
      event,
      actor: actorOf(caller),
      requestId,
      detail: { group_id: group.id, name: group.name, ...detail },
    });
}

async function view(parts: GroupRoutesParts, group: Group) {
  return (await viewAll(parts, [group]))[0]!;
}

async function viewAll({ database, groups, gifts }: GroupRoutesParts, page: readonly Group[]) {
  const ids = page.map((group) => group.id);
  const sizes = await groups.sizes(ids);
  const given = await gifts.read(database.db, ids);
  return page.map((group) => viewGroup(group, sizes.get(group.id) ?? 0, given.get(group.id)));
}
