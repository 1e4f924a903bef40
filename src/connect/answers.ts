import { z } from "zod";

const time = z.iso.datetime();
const named = z.object({ id: z.string(), name: z.string().optional() });
const upstream = z.object({ client_id: z.string(), name: z.string() });

/** A row of contract section 2. */
export const shownSession = z
  .object({
    id: z.string(),
    kind: z.enum(["token", "header", "flow"]),
    auth_kind: z.enum(["oauth", "headers"]),
    auth_mode: z.enum(["user", "vk", "session", "discovery", "shared"]),
    status: z.enum(["active", "needs_reauth", "needs_update", "orphaned", "pending"]),
    status_reason: z.string().optional(),
    created_at: time,
    updated_at: time.optional(),
    expires_at: time.optional(),
    last_refreshed_at: time.optional(),
    can_reauth: z.boolean(),
    user_id: z.string().optional(),
    user: named.optional(),
    virtual_key: named.optional(),
    session_id: z.string().optional(),
    mcp_client: upstream,
    /** With several accounts of one upstream only, like `is_default`. */
    account: z.string().optional(),
    is_default: z.boolean().optional(),
    oauth_config_id: z.string().optional(),
    scopes: z.array(z.string()).optional(),
  })
  .meta({ id: "McpSession" });

/** `kind` and `submit_url` for header rows only. */
export const reauthAnswer = z.object({
  authorize_url: z.url(),
  session_id: z.string(),
  submit_url: z.url().optional(),
  kind: z.literal("headers").optional(),
});

export const revokedAnswer = z.object({ revoked: z.int().min(0) });

const link = {
  id: z.string(),
  flow_mode: z.enum(["user", "vk", "session", "discovery", "shared"]),
  status: z.literal("pending"),
  mcp_client: upstream,
  user_id: z.string().optional(),
  user: named.optional(),
  virtual_key: named.optional(),
  session_id: z.string().optional(),
  expires_at: time,
  created_at: time,
};

/** A pending link of contract section 6, for tokens. */
export const oauthLink = z.object({
  ...link,
  oauth_config_id: z.string().optional(),
  has_active_token: z.boolean(),
});

/** The same for header values. */
export const headerLink = z.object({
  ...link,
  required_header_keys: z.array(z.string()),
  admin_header_keys: z.array(z.string()),
  submitted_keys: z.array(z.string()),
  has_active_credential: z.boolean(),
});

export const startAnswer = z.object({ authorize_url: z.url() });

export const submittedAnswer = z.object({
  status: z.literal("success"),
  credential_id: z.string(),
  updated_at: time,
});
