import { z } from "zod";
import { keyEntry, virtualMcpEntry } from "./access/index.ts";
import { clientSettings, limitSetting } from "./front/index.ts";
import { enterpriseAuthorizationConfig, workloadIdentityConfig } from "./issuer/index.ts";
import { jwtConfig } from "./jwt/index.ts";
import type { AwsKmsOptions, VaultTransitOptions } from "./keys/index.ts";
import { scimConfig } from "./scim/index.ts";
import { ssoConfig } from "./sso/index.ts";
import { definitionBody, mcpServersBody } from "./upstreams/index.ts";

/** Keys of the product family that this gateway does not act on: accepted, named once in a warning. */
const ignored = z.unknown().optional().meta({ ignored: true });

function ignoring(keys: string[]): Record<string, typeof ignored> {
  return Object.fromEntries(keys.map((key) => [key, ignored]));
}

/** One upstream: the body of `POST /api/mcp/client`, and what the product family writes beside it. */
const upstreamEntry = definitionBody.extend(
  ignoring([
    "client_id",
    "is_code_mode_client",
    "is_ping_available",
    "tools_to_auto_execute",
    "tool_pricing",
    "config_hash",
  ]),
);

const client = z.strictObject({
  enforce_auth_on_inference: clientSettings.enforce_auth_on_inference.default(true),
  device_authorization: clientSettings.device_authorization.default(true),
  mcp_enable_temp_token_auth: clientSettings.mcp_enable_temp_token_auth.default(false),
  mcp_tool_execution_timeout: clientSettings.mcp_tool_execution_timeout.default(30),
  mcp_tool_sync_interval: clientSettings.mcp_tool_sync_interval.default(10),
  mcp_tool_pins: clientSettings.mcp_tool_pins.default("keep"),
  allowed_origins: clientSettings.allowed_origins.default([]),
  native_redirect_schemes: clientSettings.native_redirect_schemes.default([
    "cursor",
    "vscode",
    "vscode-insiders",
    "windsurf",
  ]),
  access_token_hours: clientSettings.access_token_hours.default(24),
  grant_idle_days: clientSettings.grant_idle_days.default(30),
  grant_max_days: clientSettings.grant_max_days.default(180),
  virtual_key_grace_hours: clientSettings.virtual_key_grace_hours.default(24),
  audit_retention_days: clientSettings.audit_retention_days.default(365),
  ...ignoring([
    "drop_excess_requests",
    "initial_pool_size",
    "prometheus_labels",
    "enable_logging",
    "disable_content_logging",
    "log_retention_days",
    "enable_governance",
    "enforce_governance_header",
    "allow_direct_keys",
    "max_request_body_size_mb",
    "enable_litellm_fallbacks",
    "mcp_agent_depth",
    "mcp_code_mode_binding_level",
    "header_filter_config",
    "allowed_headers",
    "required_headers",
    "logging_headers",
    "compat",
  ]),
});

/** Who keeps the key that wraps the data keys; what else an entry has depends on `type`. */
const keyProvider = z
  .strictObject({
    type: z.enum(["local", "vault_transit", "aws_kms"]),
    key: z.string().min(1).optional(),
    address: z.url({ protocol: /^https?$/ }).optional(),
    mount: z.string().min(1).optional(),
    namespace: z.string().min(1).optional(),
    token: z.string().min(1).optional(),
    token_file: z.string().min(1).optional(),
    ca_file: z.string().min(1).optional(),
    region: z.string().min(1).optional(),
  })
  .transform((entry, context) => {
    const fault = keyProviderFault(entry);
    if (fault) context.addIssue({ code: "custom", message: fault });
    return entry as KeyProviderEntry;
  });

export type KeyProviderEntry =
  | { type: "local" }
  | ({ type: "vault_transit" } & VaultTransitOptions)
  | ({ type: "aws_kms" } & AwsKmsOptions);

const keysOfProvider: Record<string, { required: string[]; optional: string[] }> = {
  local: { required: [], optional: [] },
  vault_transit: {
    required: ["address", "key"],
    optional: ["mount", "namespace", "token", "token_file", "ca_file"],
  },
  aws_kms: { required: ["key"], optional: ["region", "address"] },
};

function keyProviderFault({ type, ...rest }: { type: string } & Record<string, unknown>): string | undefined {
  const { required, optional } = keysOfProvider[type]!;
  const given = Object.keys(rest).filter((name) => rest[name] !== undefined);
  const missing = required.find((name) => !given.includes(name));
  if (missing) return `a provider of type ${type} needs ${missing}`;
  const surplus = given.find((name) => !required.includes(name) && !optional.includes(name));
  if (surplus) return `${surplus} has no meaning for a provider of type ${type}`;
  if (type === "vault_transit" && (rest.token === undefined) === (rest.token_file === undefined))
    return "name exactly one of token and token_file";
  return undefined;
}

/** The whole configuration file. Every default of it stands here. */
export const fileSchema = z.strictObject({
  $schema: z.string().optional(),
  mcp: z
    .strictObject({
      client_configs: z.array(upstreamEntry).default([]),
      tool_groups: z.array(virtualMcpEntry).default([]),
      ...ignoring(["tool_manager_config", "tool_sync_interval"]),
    })
    .prefault({}),
  /** The map desktop clients use. */
  mcpServers: mcpServersBody.optional(),
  governance: z
    .strictObject({
      virtual_keys: z.array(keyEntry).default([]),
      ...ignoring([
        "budgets",
        "rate_limits",
        "customers",
        "teams",
        "routing_rules",
        "model_configs",
        "providers",
        "auth_config",
      ]),
    })
    .prefault({}),
  people: z
    .strictObject({
      session_idle_hours: z
        .number()
        .positive()
        .max(24 * 31)
        .default(12),
      session_max_days: z.number().positive().max(366).default(7),
      breached_passwords_url: z
        .url({ protocol: /^https?$/ })
        .endsWith("/")
        .optional(),
    })
    .prefault({}),
  key_providers: z
    .array(keyProvider)
    .min(1, "names no provider")
    .default([{ type: "local" }]),
  client: client.prefault({}),
  sso: ssoConfig.prefault({}),
  scim: scimConfig.prefault({}),
  jwt: jwtConfig.prefault({}),
  workload_identity: workloadIdentityConfig.prefault({}),
  enterprise_authorization: enterpriseAuthorizationConfig.prefault({}),
  limits: z
    .strictObject({
      guess: limitSetting.optional(),
      register: limitSetting.optional(),
      authorize: limitSetting.optional(),
      token: limitSetting.optional(),
      api: limitSetting.optional(),
    })
    .prefault({}),
  ...ignoring([
    "version",
    "encryption_key",
    "auth_config",
    "providers",
    "config_store",
    "logs_store",
    "vector_store",
    "framework",
    "plugins",
    "websocket",
    "cluster_config",
    "saml_config",
    "scim_config",
    "load_balancer_config",
    "guardrails_config",
    "audit_logs",
    "large_payload_optimization",
  ]),
});

export type ConfigFile = z.output<typeof fileSchema>;

/** Every variable with our prefix, and what it means (contract section 11). */
export const environmentSchema = z.strictObject({
  POSTERN_CONFIG: z.string().optional(),
  POSTERN_HOST: z.string().default("127.0.0.1"),
  POSTERN_PORT: z.coerce.number().int().min(1).max(65535).default(8080),
  POSTERN_BASE_URL: z.string().optional(),
  POSTERN_BASE_URL_ALIASES: z.string().default(""),
  POSTERN_DATABASE_URL: z.string().default("sqlite:./data/postern.db"),
  POSTERN_DATABASE_POOL: z.coerce.number().int().min(2).max(200).default(10),
  POSTERN_ENCRYPTION_KEY: z.string().optional(),
  POSTERN_ADMIN_TOKEN: z.string().min(24, "is shorter than 24 characters").optional(),
  POSTERN_ADMIN_EMAIL: z.string().optional(),
  POSTERN_ADMIN_PASSWORD: z.string().optional(),
  POSTERN_OUTBOUND_ALLOW: z.string().default(""),
  POSTERN_CIMD_ALLOW: z.string().default(""),
  POSTERN_TRUSTED_PROXIES: z.string().default(""),
  POSTERN_LOG_LEVEL: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
});

export type Environment = z.output<typeof environmentSchema>;
