import { z } from "zod";
import { authMethods, authTypes, connectionTypes, grantTypes, upstreamStates } from "./upstream.ts";

const time = z.iso.datetime();

/** A row of `GET /api/mcp/clients`; who may only use it sees its id, name and state. Secrets are redacted. */
export const shownUpstream = z
  .object({
    config: z.looseObject({
      client_id: z.string(),
      name: z.string(),
      connection_type: z.enum(connectionTypes).optional(),
      connection_string: z.url().optional(),
    }),
    source: z.enum(["api", "file"]).optional(),
    tools: z.array(z.looseObject({ name: z.string() })),
    /** Definitions that wait for an administrator: `GET /api/mcp/client/{id}/tools/changes`. */
    held_tools: z.int().min(0).optional(),
    tools_synced_at: time.optional(),
    state: z.enum(upstreamStates),
    last_failure: z.looseObject({ code: z.string(), message: z.string(), at: time }).optional(),
    vk_configs: z.array(z.object({ virtual_key_id: z.string(), tools_to_execute: z.array(z.string()) })),
    created_at: time.optional(),
    updated_at: time.optional(),
  })
  .meta({ id: "McpClient" });

const done = z.object({
  status: z.literal("success"),
  message: z.string(),
  mcp_client_id: z.string(),
  tools: z.int().min(0).optional(),
});

const oauthPending = z.object({
  status: z.literal("pending_oauth"),
  message: z.string(),
  oauth_config_id: z.string(),
  authorize_url: z.url(),
  session_id: z.string(),
  expires_at: time,
  mcp_client_id: z.string(),
  complete_url: z.url(),
  status_url: z.url(),
  next_steps: z.array(z.string()),
});

const valuesPending = z.object({
  status: z.literal("pending_verification"),
  message: z.string(),
  mcp_client_id: z.string(),
  submit_url: z.url(),
  session_id: z.string(),
  expires_at: time,
  required_header_keys: z.array(z.string()),
  admin_header_keys: z.array(z.string()),
  next_steps: z.array(z.string()),
});

/** Done, or what an administrator does before the tools can be listed (contract section 7). */
export const upstreamAnswer = z.union([done, oauthPending, valuesPending]);

export const oauthStatusAnswer = z.object({
  id: z.string(),
  mcp_client_id: z.string(),
  status: z.enum(["pending", "authorized", "needs_reauth", "needs_update", "orphaned"]),
  redirect_uri: z.url().optional(),
  issuer: z.url().optional(),
  client_id: z.string().optional(),
  scopes: z.array(z.string()).optional(),
});

/** The same with what discovery and registration came to. */
export const oauthConfigAnswer = oauthStatusAnswer.extend({
  auth_type: z.enum(authTypes),
  grant_type: z.enum(grantTypes),
  authorize_url: z.url().optional(),
  token_url: z.url().optional(),
  revocation_url: z.url().optional(),
  token_endpoint_auth_method: z.enum([...authMethods, "none"]).optional(),
  resource: z.string().optional(),
});

/** Client ID Metadata Document; RFC 7591 §2 has the members. */
export const clientDocument = z.looseObject({ client_id: z.url(), redirect_uris: z.array(z.url()) });
