import { z } from "zod";
import { DEVICE_GRANT } from "./grant-names.ts";

const time = z.iso.datetime();
const authMethod = z.enum(["none", "client_secret_basic", "client_secret_post"]);

/** A row of `GET /api/oauth2/sessions` (contract section 4). */
export const shownGrant = z
  .object({
    id: z.string(),
    client_id: z.string(),
    client_name: z.string(),
    bf_mode: z.enum(["user", "vk", "session"]),
    bf_sub: z.string(),
    bf_sub_display: z.string(),
    scope: z.string(),
    created_at: time,
    last_used_at: time.nullable(),
  })
  .meta({ id: "Grant" });

export const revokedAnswer = z.object({ revoked: z.int().min(0) });

const client = {
  client_id: z.string(),
  client_name: z.string(),
  redirect_uris: z.array(z.string()),
  token_endpoint_auth_method: authMethod,
  created_at: time,
};

export const shownClient = z.object(client).meta({ id: "OAuthClient" });
export const createdClient = z.object({ ...client, client_secret: z.string().optional() });

/** RFC 7591 §3.2.1. */
export const registeredClient = z.object({
  client_id: z.string(),
  client_id_issued_at: z.int(),
  client_name: z.string(),
  redirect_uris: z.array(z.string()),
  grant_types: z.array(z.enum(["authorization_code", "refresh_token", DEVICE_GRANT])),
  response_types: z.array(z.literal("code")),
  token_endpoint_auth_method: authMethod,
});

/** RFC 8628 §3.2. */
export const deviceAuthorization = z.object({
  device_code: z.string(),
  user_code: z.string(),
  verification_uri: z.url(),
  verification_uri_complete: z.url(),
  expires_in: z.int(),
  interval: z.int(),
});

/** RFC 6749 §5.1; `issued_token_type`: RFC 8693 §2.2.1. */
export const tokens = z.object({
  access_token: z.string(),
  token_type: z.literal("Bearer"),
  expires_in: z.int().min(0).max(86_400),
  refresh_token: z.string().optional(),
  scope: z.string(),
  issued_token_type: z.string().optional(),
});
