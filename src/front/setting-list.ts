import { z } from "zod";
import { type Settings, toolPinPolicies } from "../base/index.ts";
import type { defaultRateLimits, RateClass } from "../http/index.ts";

/** What running settings change: the parts read both at every use. */
export interface Running {
  settings: Settings;
  limits: typeof defaultRateLimits;
}

/** One setting that takes effect while the gateway runs, under its path in the configuration file. */
export interface Setting {
  group: "client" | "limits";
  name: string;
  schema: z.ZodType;
  read(running: Running): unknown;
  /** `value` has passed the schema. */
  write(running: Running, value: never): void;
}

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const days = z.number().max(3650);
const originText = z
  .string()
  .regex(/^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@]+$/, "is not an origin like https://app.example.com");
const schemeText = z.string().regex(/^[a-z][a-z0-9+.-]*$/, "is not a URI scheme");

/** The `client` object of the file, without its defaults; one schema for the file and the API. */
export const clientSettings = {
  enforce_auth_on_inference: z.boolean(),
  device_authorization: z.boolean(),
  mcp_enable_temp_token_auth: z.boolean(),
  mcp_tool_execution_timeout: z.number().positive().max(3600),
  mcp_tool_sync_interval: z.number().positive().max(10_080),
  mcp_tool_pins: z.enum(toolPinPolicies),
  allowed_origins: z.array(originText).max(100),
  native_redirect_schemes: z.array(schemeText).max(100),
  access_token_hours: z.number().positive().max(24),
  grant_idle_days: days.positive(),
  grant_max_days: days.min(0),
  virtual_key_grace_hours: z
    .number()
    .min(0)
    .max(30 * 24),
  audit_retention_days: z.int().min(0).max(36_500),
};

/** One budget of the file's `limits`. */
export const limitSetting = z.strictObject({
  requests: z.number().int().positive(),
  window_seconds: z.number().positive().max(86_400),
});

/** The settings kept as they are written. */
type Plain =
  | "enforceAuthOnInference"
  | "deviceAuthorization"
  | "tempTokenAuth"
  | "toolPins"
  | "allowedOrigins"
  | "nativeRedirectSchemes";
/** Those kept in another unit. */
type Scaled =
  | "toolTimeoutMs"
  | "toolSyncIntervalMs"
  | "accessTokenMs"
  | "grantIdleMs"
  | "grantMaxMs"
  | "keyGraceMs"
  | "auditRetentionDays";

type Name = keyof typeof clientSettings;

function plain<F extends Plain>(name: Name, field: F): Setting {
  return {
    group: "client",
    name,
    schema: clientSettings[name],
    read: ({ settings }) => settings[field],
    write: ({ settings }, value: Settings[F]) => {
      settings[field] = value;
    },
  };
}

function scaled(name: Name, field: Scaled, unit: number): Setting {
  return {
    group: "client",
    name,
    schema: clientSettings[name],
    read: ({ settings }) => settings[field] / unit,
    write: ({ settings }, value: number) => {
      settings[field] = value * unit;
    },
  };
}

function limit(name: Exclude<RateClass, "none">): Setting {
  return {
    group: "limits",
    name,
    schema: limitSetting,
    read: ({ limits }) => ({
      requests: limits[name].requests,
      window_seconds: limits[name].windowMs / SECOND_MS,
    }),
    write: ({ limits }, value: z.output<typeof limitSetting>) => {
      limits[name] = { requests: value.requests, windowMs: value.window_seconds * SECOND_MS };
    },
  };
}

/** Everything that can change while the gateway runs. All of it is read where it is used, so it counts at once. */
export const settingList: readonly Setting[] = [
  plain("enforce_auth_on_inference", "enforceAuthOnInference"),
  plain("device_authorization", "deviceAuthorization"),
  plain("mcp_enable_temp_token_auth", "tempTokenAuth"),
  scaled("mcp_tool_execution_timeout", "toolTimeoutMs", SECOND_MS),
  scaled("mcp_tool_sync_interval", "toolSyncIntervalMs", MINUTE_MS),
  plain("mcp_tool_pins", "toolPins"),
  plain("allowed_origins", "allowedOrigins"),
  plain("native_redirect_schemes", "nativeRedirectSchemes"),
  scaled("access_token_hours", "accessTokenMs", HOUR_MS),
  scaled("grant_idle_days", "grantIdleMs", DAY_MS),
  scaled("grant_max_days", "grantMaxMs", DAY_MS),
  scaled("virtual_key_grace_hours", "keyGraceMs", HOUR_MS),
  scaled("audit_retention_days", "auditRetentionDays", 1),
  limit("guess"),
  limit("register"),
  limit("authorize"),
  limit("token"),
  limit("api"),
];
