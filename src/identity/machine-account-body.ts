import { z } from "zod";
import { pageAnswer, pageQuery } from "../http/index.ts";
import { type McpConfigView, mcpConfigBody, mcpConfigView } from "./user-body.ts";
import type { User } from "./user-rows.ts";

const name = z.string().trim().min(1).max(128);
const manager_id = z.string().max(128).nullable().optional();
const mcp_configs = z.array(mcpConfigBody).max(1000).optional();

/** The body of `POST /api/service-accounts`. */
export const serviceAccountBody = z.strictObject({ name, manager_id, mcp_configs });

/** The body of `PUT /api/service-accounts/{id}`: what changes; `mcp_configs` is replaced whole. */
export const serviceAccountPatchBody = z.strictObject({
  name: name.optional(),
  is_active: z.boolean().optional(),
  manager_id,
  mcp_configs,
});

export const serviceAccountQuery = z.object({
  ...pageQuery({ max: 100, default: 25 }),
  search: z.string().max(128).optional(),
});

const time = z.iso.datetime();
export const shownServiceAccount = z
  .object({
    id: z.string(),
    name: z.string(),
    is_active: z.boolean(),
    /** Absent: the administrators look after it. */
    manager: z.object({ id: z.string(), name: z.string() }).optional(),
    mcp_configs: z.array(mcpConfigView),
    created_at: time,
    updated_at: time,
  })
  .meta({ id: "ServiceAccount" });

export const serviceAccountAnswer = z.object({ service_account: shownServiceAccount });
export const changedServiceAccount = z.object({ message: z.string(), service_account: shownServiceAccount });
export const serviceAccountPage = pageAnswer("service_accounts", shownServiceAccount);

export function viewServiceAccount(
  account: User,
  manager: { id: string; name: string } | undefined,
  configs: readonly McpConfigView[],
): z.output<typeof shownServiceAccount> {
  return {
    id: account.id,
    name: account.name,
    is_active: account.isActive,
    manager,
    mcp_configs: [...configs],
    created_at: new Date(account.createdAt).toISOString(),
    updated_at: new Date(account.updatedAt).toISOString(),
  };
}
