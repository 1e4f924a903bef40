import { z } from "zod";
import { type Hidden, type Problem, type Tls, type ToolPinPolicy, toolPinPolicies } from "../base/index.ts";
import { checkForwardedHeader, checkHeader } from "./headers.ts";
import { checkUrl, invalid } from "./invalid.ts";
import { address, checkOAuth, type OAuthSecrets, type OAuthType, oauthConfig } from "./oauth-definition.ts";
import { checkHeaderKeys, MAX_HEADER_KEYS } from "./per-user-headers.ts";
import { resolveHeaders } from "./redaction.ts";
import { checkStdio, type StdioSettings, stdioConfig } from "./stdio.ts";
import { checkTls, tlsConfig } from "./tls-config.ts";
import {
  type AuthType,
  authTypes,
  type ConnectionType,
  connectionTypes,
  type OAuthSettings,
  type Upstream,
} from "./upstream.ts";

const MINUTE_MS = 60_000;
const toolNames = z.array(z.string().min(1).max(256)).max(2000);

const fields = {
  connection_type: z.enum(connectionTypes),
  connection_string: address,
  stdio_config: stdioConfig.nullable(),
  auth_type: z.enum(authTypes),
  headers: z.record(z.string().max(128), z.string().max(8192)),
  oauth_config: oauthConfig.nullable(),
  per_user_header_keys: z.array(z.string().max(128)).max(MAX_HEADER_KEYS),
  user_headers: z.record(z.string().max(128), z.string()),
  tools_to_execute: toolNames,
  allowed_extra_headers: z.array(z.string().max(128)).max(50),
  allow_on_all_virtual_keys: z.boolean(),
  tool_execution_timeout: z.number().positive().max(3600),
  tool_sync_interval: z.number().positive().max(10_080),
  tool_pins: z.enum(toolPinPolicies).nullable(),
  tls_config: tlsConfig.nullable(),
  disabled: z.boolean(),
  vk_configs: z
    .array(z.strictObject({ virtual_key_id: z.string().max(128), tools_to_execute: toolNames.optional() }))
    .max(1000),
};

const name = z
  .string()
  .max(64)
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "use letters, digits and underscores, not starting with a digit");

/** The body of `POST /api/mcp/client` and an entry of `mcp.client_configs[]` (contract section 7). */
export const definitionBody = z.strictObject({ name, ...z.strictObject(fields).partial().shape });
export type DefinitionBody = z.output<typeof definitionBody>;

/** The body of `PUT /api/mcp/client/{id}`: only what changes. Ids that the read shows may come back unchanged. */
export const definitionPatch = z.strictObject({
  name: name.optional(),
  ...z.strictObject(fields).partial().shape,
  client_id: z.string().optional(),
  oauth_config_id: z.string().optional(),
});
export type DefinitionPatch = z.output<typeof definitionPatch>;

/** A checked definition. `timeoutMs`, `syncIntervalMs` and `toolPins` are unset where the gateway's own setting counts. */
export interface Definition extends OAuthSecrets {
  name: string;
  connectionType: ConnectionType;
  url: URL;
  /** For `connectionType` `stdio`. */
  stdio?: StdioSettings;
  authType: AuthType;
  headers: Record<string, Hidden>;
  tls?: Tls;
  /** Names that each person fills in; empty unless `per_user_headers`. */
  perUserHeaderKeys: string[];
  oauth?: OAuthSettings;
  toolsToExecute: string[];
  allowedExtraHeaders: string[];
  allowOnAllVirtualKeys: boolean;
  disabled: boolean;
  timeoutMs?: number;
  syncIntervalMs?: number;
  toolPins?: ToolPinPolicy;
}

/**
 * Checks what the schema cannot: what is supported, addresses, header names, secrets. `previous`: where redacted values
 * in `body` come from. `isNamed`: whether the operator's list names a host and port (`Outbound.isNamed`). `isFromFile`: the
 * operator of the machine says so. Throws `Problem` with the field at fault.
 */
export function checkDefinition(
  body: DefinitionBody,
  previous?: Upstream,
  isNamed: (url: URL) => boolean = () => false,
  isFromFile = previous?.source === "file",
): Definition {
  const connectionType = body.connection_type ?? "http";
  const authType = body.auth_type ?? "none";
  // R25, attack case AD-07: nobody starts a program over the network.
  if (connectionType === "stdio" && !isFromFile) throw onlyFromFile();
  const stdio = connectionType === "stdio" ? checkStdio(body) : undefined;
  checkSupported(body, connectionType, authType);
  if (authType === "headers" && Object.keys(body.headers ?? {}).length === 0) {
    throw invalid("headers_required", "auth_type headers needs at least one entry in headers.", "headers");
  }
  const oauth = isOAuth(authType)
    ? checkOAuth(body.oauth_config ?? {}, authType, previous, isFromFile)
    : undefined;
  const url = stdio
    ? new URL(`stdio:${encodeURIComponent(stdio.command)}`)
    : checkUrl(body.connection_string, "connection_string");
  return {
    name: body.name,
    connectionType,
    url,
    stdio,
    authType,
    headers: resolveHeaders(checkedHeaders(body.headers ?? {}, authType), previous),
    tls: checkTls(body.tls_config, url, previous?.tls, isNamed),
    perUserHeaderKeys:
      authType === "per_user_headers" ? checkHeaderKeys(body.per_user_header_keys ?? []) : [],
    ...(oauth ?? { clientSecret: null, privateKey: null }),
    toolsToExecute: body.tools_to_execute ?? [],
    allowedExtraHeaders: (body.allowed_extra_headers ?? []).map(checkForwardedHeader),
    allowOnAllVirtualKeys: body.allow_on_all_virtual_keys ?? false,
    disabled: body.disabled ?? false,
    timeoutMs: body.tool_execution_timeout && body.tool_execution_timeout * 1000,
    syncIntervalMs: body.tool_sync_interval && body.tool_sync_interval * MINUTE_MS,
    toolPins: body.tool_pins ?? undefined,
  };
}

function checkSupported(body: DefinitionBody, connectionType: ConnectionType, authType: AuthType): void {
  if (connectionType !== "stdio" && body.stdio_config) {
    const message = "stdio_config goes with connection_type stdio only. Leave it out.";
    throw invalid("unsupported_field", message, "stdio_config");
  }
  for (const field of ["per_user_header_keys", "user_headers"] as const) {
    if (authType === "per_user_headers" || Object.keys(body[field] ?? []).length === 0) continue;
    throw invalid(
      "unsupported_field",
      `${field} goes with auth_type per_user_headers only. Leave it out.`,
      field,
    );
  }
  if (!isOAuth(authType) && body.oauth_config) {
    throw invalid(
      "unsupported_field",
      "oauth_config goes with auth_type oauth, per_user_oauth and token_exchange only. Leave it out.",
      "oauth_config",
    );
  }
}

function onlyFromFile(): Problem {
  return invalid(
    "unsupported_connection_type",
    "A program is started from the configuration file only. Declare it there in mcp.client_configs and restart, or give an http or sse address.",
    "connection_type",
  );
}

function isOAuth(authType: AuthType): authType is OAuthType {
  return authType === "oauth" || authType === "per_user_oauth" || authType === "token_exchange";
}

function checkedHeaders(headers: Record<string, string>, authType: AuthType): Record<string, string> {
  const checked: Record<string, string> = {};
  for (const [key, value] of Object.entries(headers)) {
    const header = checkHeader(key, value, `headers.${key}`);
    if (header === "authorization" && isOAuth(authType)) {
      throw invalid(
        "reserved_header",
        "Authorization carries the token here. Leave it out.",
        `headers.${key}`,
      );
    }
    if (header in checked)
      throw invalid("duplicate_header", "Name each header once; case does not count.", `headers.${key}`);
    checked[header] = value;
  }
  return checked;
}
