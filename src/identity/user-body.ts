import { z } from "zod";
import type { Db, Tx } from "../db/index.ts";
import { pageQuery } from "../http/index.ts";
import type { Group } from "./group-rows.ts";
import type { User } from "./user-rows.ts";

/** One upstream that a person or key may use, as it comes over the wire (contract section 7). */
export const mcpConfigBody = z.strictObject({
  mcp_client_id: z.string().max(128).optional(),
  mcp_client_name: z.string().max(128).optional(),
  tools_to_execute: z.array(z.string().min(1).max(256)).max(2000).optional(),
});
export type McpConfigBody = z.output<typeof mcpConfigBody>;

export const mcpConfigView = z.object({
  mcp_client_id: z.string(),
  mcp_client_name: z.string().optional(),
  tools_to_execute: z.array(z.string()),
});
export type McpConfigView = z.output<typeof mcpConfigView>;

/** What a person may use by name. Upstreams and rules are above this folder; app.ts hands this over. */
export interface UserConfigs {
  /** Checks the names: 400 `unknown_mcp_client`, `duplicate_mcp_client`. What it gives back goes to `replace`. */
  resolve(configs: readonly McpConfigBody[]): ResolvedConfigs;
  read(db: Db | Tx, userIds: readonly string[]): Promise<ReadonlyMap<string, readonly McpConfigView[]>>;
  /** Makes these all there is, and reconciles the person's credentials, in the transaction of the change. */
  replace(tx: Tx, userId: string, configs: ResolvedConfigs): Promise<void>;
}
export type ResolvedConfigs = readonly { upstreamId: string; tools: readonly string[] }[];

const role = z.enum(["admin", "member"]);
const name = z.string().trim().min(1).max(128);
const mcp_configs = z.array(mcpConfigBody).max(1000).optional();

/** The body of `POST /api/users`. */
export const userBody = z.strictObject({
  email: z.string().max(254),
  name: name.optional(),
  role: role.default("member"),
  password: z.string().max(1024).optional(),
  mcp_configs,
});

/** The body of `PUT /api/users/{id}`: what changes; `mcp_configs` is replaced whole. */
export const userPatchBody = z.strictObject({
  name: name.optional(),
  role: role.optional(),
  is_active: z.boolean().optional(),
  mcp_configs,
});

/** The body of `POST /api/users/{id}/recovery-link`: what the link takes away beside the password. */
export const recoveryBody = z
  .strictObject({ reset_second_factor: z.boolean().optional(), remove_passkeys: z.boolean().optional() })
  .optional();

export const userQuery = z.object({
  ...pageQuery({ max: 100, default: 25 }),
  search: z.string().max(128).optional(),
  role: role.optional(),
  is_active: z.enum(["true", "false"]).optional(),
  kind: z.enum(["person", "service"]).default("person"),
});

const time = z.iso.datetime();
export const userView = z.object({
  id: z.string(),
  email: z.string(),
  name: z.string(),
  /** What counts, groups included; what PUT sets is `own_role`. */
  role,
  own_role: role,
  groups: z.array(z.object({ id: z.string(), name: z.string(), role: role.nullable() })),
  is_active: z.boolean(),
  /** `service`: a machine's identity; see service accounts. */
  kind: z.enum(["person", "service"]),
  has_password: z.boolean(),
  mcp_configs: z.array(mcpConfigView),
  created_at: time,
  updated_at: time,
});

export const linkView = z.object({ url: z.url(), expires_at: time });

export const userAnswer = z.object({ user: userView });
export const changedAnswer = z.object({ message: z.string(), user: userView });
export const createdAnswer = z.object({ message: z.string(), user: userView, setup: linkView.optional() });
export const linkAnswer = z.object({ message: z.string(), ...linkView.shape });
export const listAnswer = z.object({
  users: z.array(userView),
  count: z.int(),
  total_count: z.int(),
  limit: z.int(),
  offset: z.int(),
});

/** A person as the API shows them. */
export function viewUser(
  user: User,
  configs: readonly McpConfigView[],
  groups: readonly Group[],
): z.output<typeof userView> {
  return {
    id: user.id,
    email: user.email,
    name: user.name,
    role: user.role,
    own_role: user.ownRole,
    groups: groups.map(({ id, name, role }) => ({ id, name, role: role ?? null })),
    is_active: user.isActive,
    kind: user.kind,
    has_password: user.hasPassword,
    mcp_configs: [...configs],
    created_at: new Date(user.createdAt).toISOString(),
    updated_at: new Date(user.updatedAt).toISOString(),
  };
}
