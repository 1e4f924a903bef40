import { z } from "zod";
import type { World } from "../base/index.ts";
import type { Database } from "../db/index.ts";
import { json, type Route } from "../http/index.ts";
import { type Groups, route, type Users } from "../identity/index.ts";
import type { Upstreams } from "../upstreams/index.ts";
import { readUserAccess } from "./user-access.ts";

export interface UserAccessParts {
  database: Database;
  world: World;
  users: Users;
  groups: Groups;
  upstreams: Upstreams;
}

const role = z.enum(["admin", "member"]);
const origin = z.object({
  kind: z.enum(["own", "everybody", "group", "virtual_key"]),
  id: z.string().optional(),
  name: z.string().optional(),
});
const tools = z.array(z.string());
const answer = z.object({
  user_id: z.string(),
  is_active: z.boolean(),
  role,
  own_role: role,
  groups: z.array(z.object({ id: z.string(), name: z.string(), role: role.nullable() })),
  upstreams: z.array(
    z.object({
      mcp_client_id: z.string(),
      mcp_client_name: z.string(),
      disabled: z.boolean(),
      tools_to_execute: tools,
      from: z.array(z.object({ ...origin.shape, tools_to_execute: tools })),
    }),
  ),
  virtual_mcps: z.array(
    z.object({ id: z.string(), slug: z.string(), name: z.string(), from: z.array(origin) }),
  ),
});

/** Why a person may use what they may; administrators only. */
export function userAccessRoutes({ database, world, users, groups, upstreams }: UserAccessParts): Route[] {
  return [
    route({
      method: "GET",
      path: "/api/users/{id}/access",
      operationId: "getUserAccess",
      summary: "What a person may use, and where each part comes from",
      tag: "Users",
      access: "admin",
      csrf: "none",
      rate: "api",
      errors: "envelope",
      params: z.object({ id: z.string().max(128) }),
      refuses: [],
      answers: { 200: { description: "What counts now", schema: answer } },
      handle: async ({ params: { id: userId } }) => {
        const user = await users.get(userId);
        const mine = (await groups.ofUsers([userId])).get(userId) ?? [];
        const now = world.now().getTime();
        const found = await readUserAccess(database.db, {
          userId,
          groups: mine,
          upstreams: upstreams.all(),
          now,
        });
        return json({
          user_id: userId,
          is_active: user.isActive,
          role: user.role,
          own_role: user.ownRole,
          groups: mine.map(({ id, name, role: gives }) => ({ id, name, role: gives ?? null })),
          upstreams: found.upstreams.map(({ upstream, tools, parts }) => ({
            mcp_client_id: upstream.id,
            mcp_client_name: upstream.name,
            disabled: upstream.disabled,
            tools_to_execute: tools,
            from: parts.map((part) => ({ ...part.from, tools_to_execute: part.tools })),
          })),
          virtual_mcps: found.virtualMcps,
        });
      },
    }),
  ];
}
