import { z } from "zod";

const time = z.iso.datetime();

/** A virtual key as the answers show it; the whole value only where it was just made. */
export const shownKey = z
  .object({
    id: z.string(),
    name: z.string(),
    description: z.string(),
    value: z.string(),
    previous_value_expires_at: time.nullable(),
    is_active: z.boolean(),
    expires_at: time.nullable(),
    user_id: z.string().nullable(),
    source: z.enum(["api", "file"]),
    mcp_configs: z.array(
      z.object({
        mcp_client_id: z.string(),
        mcp_client_name: z.string().optional(),
        tools_to_execute: z.array(z.string()),
      }),
    ),
    created_at: time,
    updated_at: time,
  })
  .meta({ id: "VirtualKey" });

/** A bundle of tools behind an address of its own. */
export const shownVirtualMcp = z
  .object({
    id: z.string(),
    slug: z.string(),
    url: z.url(),
    name: z.string(),
    description: z.string(),
    disabled: z.boolean(),
    names: z.enum(["prefixed", "plain"]),
    listing: z.enum(["full", "search"]),
    tools: shownKey.shape.mcp_configs,
    accounts: z.record(z.string(), z.string()),
    virtual_key_ids: z.array(z.string()),
    user_ids: z.array(z.string()),
    group_ids: z.array(z.string()),
    source: z.enum(["api", "file"]),
    created_at: time,
    updated_at: time,
  })
  .meta({ id: "VirtualMcp" });

export const virtualMcpAnswer = z.object({ message: z.string(), virtual_mcp: shownVirtualMcp });

export const keyAnswer = z.object({ message: z.string(), virtual_key: shownKey });
export const messageAnswer = z.object({ message: z.string() });
