import { z } from "zod";
import type { Db, Tx } from "../db/index.ts";
import { pageAnswer, pageQuery } from "../http/index.ts";
import type { Group, Member } from "./group-rows.ts";
import {
  type McpConfigBody,
  type McpConfigView,
  mcpConfigBody,
  mcpConfigView,
  type ResolvedConfigs,
} from "./user-body.ts";

/** A virtual MCP that is attached to a group. */
export interface AttachedVirtualMcp {
  id: string;
  slug: string;
  name: string;
}

/** What groups give. Upstreams, rules and virtual MCPs are above this folder; app.ts hands this over. */
export interface GroupGifts {
  /** Checks the names: 400 `unknown_mcp_client`, `duplicate_mcp_client`. What it gives back goes to `replace`. */
  resolve(configs: readonly McpConfigBody[]): ResolvedConfigs;
  read(
    db: Db | Tx,
    groupIds: readonly string[],
  ): Promise<
    ReadonlyMap<string, { configs: readonly McpConfigView[]; virtualMcps: readonly AttachedVirtualMcp[] }>
  >;
  /** Makes these all that the group gives; what is undefined stays. The members are told by who calls. 400 `unknown_virtual_mcp`. */
  replace(
    tx: Tx,
    groupId: string,
    gifts: { configs?: ResolvedConfigs; virtualMcpIds?: readonly string[] },
  ): Promise<void>;
}

const name = z.string().trim().min(1).max(128);
const id = z.string().min(1).max(128);
const ids = (most: number) =>
  z
    .array(id)
    .max(most)
    .transform((all) => [...new Set(all)]);
const role = z.enum(["admin", "member"]).nullable();
const fields = {
  description: z.string().max(2000).optional(),
  role: role.optional(),
  mcp_configs: z.array(mcpConfigBody).max(1000).optional(),
  virtual_mcp_ids: ids(1000).optional(),
};
/** More than come in one body come in several. */
const userIds = ids(10_000);

/** The body of `POST /api/groups`. */
export const groupBody = z.strictObject({ name, ...fields, user_ids: userIds.optional() });
export type GroupBody = z.output<typeof groupBody>;

/** The body of `PUT /api/groups/{id}`: what changes; lists are replaced whole. */
export const groupPatchBody = z.strictObject({ name: name.optional(), ...fields });
export type GroupPatchBody = z.output<typeof groupPatchBody>;

/** The body of `PUT` and `POST /api/groups/{id}/members`. */
export const membersBody = z.strictObject({ user_ids: userIds });

export const groupQuery = z.object({
  ...pageQuery({ max: 100, default: 25 }),
  search: z.string().max(128).optional(),
  source: z.string().max(256).optional(),
});
export const memberQuery = z.object({
  ...pageQuery({ max: 500, default: 50 }),
  search: z.string().max(128).optional(),
});

const time = z.iso.datetime();
const groupView = z
  .object({
    id: z.string(),
    name: z.string(),
    description: z.string(),
    role,
    source: z.string(),
    external_id: z.string().nullable(),
    member_count: z.int(),
    mcp_configs: z.array(mcpConfigView),
    virtual_mcps: z.array(z.object({ id: z.string(), slug: z.string(), name: z.string() })),
    created_at: time,
    updated_at: time,
  })
  .meta({ id: "Group" });
const memberView = z.object({
  user_id: z.string(),
  email: z.string(),
  name: z.string(),
  role: z.enum(["admin", "member"]),
  is_active: z.boolean(),
  kind: z.enum(["person", "service"]),
  via: z.string(),
});

export const groupsAnswer = pageAnswer("groups", groupView);
export const membersAnswer = pageAnswer("members", memberView);
export const groupAnswer = z.object({ group: groupView });
export const changedGroupAnswer = z.object({ message: z.string(), group: groupView });
export const movedAnswer = z.object({ message: z.string(), added: z.int(), removed: z.int() });

/** A group as the API shows it. */
export function viewGroup(
  group: Group,
  count: number,
  gifts?: { configs: readonly McpConfigView[]; virtualMcps: readonly AttachedVirtualMcp[] },
): z.output<typeof groupView> {
  return {
    id: group.id,
    name: group.name,
    description: group.description,
    role: group.role ?? null,
    source: group.source,
    external_id: group.externalId ?? null,
    member_count: count,
    mcp_configs: [...(gifts?.configs ?? [])],
    virtual_mcps: [...(gifts?.virtualMcps ?? [])],
    created_at: new Date(group.createdAt).toISOString(),
    updated_at: new Date(group.updatedAt).toISOString(),
  };
}

export function viewMember({ user, via }: Member): z.output<typeof memberView> {
  const { id: user_id, email, name, role, isActive: is_active, kind } = user;
  return { user_id, email, name, role, is_active, kind, via };
}
