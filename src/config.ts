import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import type { ZodType, z } from "zod";
import type { KeyEntry, VirtualMcpEntry } from "./access/index.ts";
import {
  Hidden,
  JsonFault,
  type LogLevel,
  parseAllowList,
  parseStrictJson,
  type Settings,
} from "./base/index.ts";
import { BadConfiguration, describeIssue } from "./config-problem.ts";
import {
  type ConfigFile,
  type Environment,
  environmentSchema,
  fileSchema,
  type KeyProviderEntry,
} from "./config-schema.ts";
import { keyFromFile, parseKeys } from "./encryption-key.ts";
import { defaultRateLimits } from "./http/index.ts";
import { type MachineTrust, machineTrust } from "./issuer/index.ts";
import type { JwtIssuer } from "./jwt/index.ts";
import type { IdentityRule } from "./scim/index.ts";
import { type SsoSettings, signInOrigins } from "./sso/index.ts";
import {
  type DefinitionBody,
  definitionBody,
  definitionsFromMcpServers,
  type StdioCommand,
  stdioCommands,
} from "./upstreams/index.ts";

/** Everything the operator decided, checked. Made once, before anything opens or listens. */
export interface Config {
  host: string;
  port: number;
  databaseUrl: Hidden;
  /** Connections to Postgres for statements. */
  databasePool: number;
  /** Of the environment or the key file; none when `keyProviders` has no `local`. */
  encryptionKeys: Uint8Array[];
  /** Who wraps the data keys: the first wraps, all unwrap. */
  keyProviders: KeyProviderEntry[];
  adminToken?: Hidden;
  admin?: { email: string; password: Hidden };
  outboundAllow: string[];
  cimdAllow: string[];
  logLevel: LogLevel;
  settings: Settings;
  limits: typeof defaultRateLimits;
  upstreams: DefinitionBody[];
  /** How to start those of them that are programs, by name. */
  commands: ReadonlyMap<string, StdioCommand>;
  virtualKeys: KeyEntry[];
  virtualMcps: VirtualMcpEntry[];
  sso: SsoSettings;
  /** By which accounts that a provisioning client makes and sign-ins elsewhere are the same people. */
  scimIdentity?: IdentityRule;
  /** Whose JWTs are credentials. */
  jwtIssuers: readonly JwtIssuer[];
  /** Whose signed statements give machines and companies' clients access. */
  machines: MachineTrust;
  /** What the file names of what else could change while the gateway runs, as `client.allowed_origins`. */
  given: ReadonlySet<string>;
  /** Known keys that have no effect here, for one warning. */
  ignored: string[];
  /** For printing: the effective settings, secrets hidden. */
  shown: [name: string, value: string][];
}

const PREFIX = "POSTERN_";
const DEFAULT_FILE = "./postern.config.json";
/** Variables of the test run that share the prefix. */
const FOR_TESTS = "POSTERN_TEST_";

/** Where the database is, for what needs nothing else of the configuration. Throws `BadConfiguration`. */
export function loadDatabaseUrl(): Hidden {
  const url = readEnvironment(process.env).POSTERN_DATABASE_URL;
  checkDatabaseUrl(url);
  return new Hidden(url);
}

/**
 * Reads the environment and the file. Throws `BadConfiguration`. `file`: the path given by `--config`. `makeKey` false: a
 * key file that is not there is not made.
 */
export function loadConfig(
  options: { environment?: NodeJS.ProcessEnv; file?: string; makeKey?: boolean } = {},
): Config {
  const variables = options.environment ?? process.env;
  const environment = readEnvironment(variables);
  const { file, given, ignored } = readFile(options.file ?? environment.POSTERN_CONFIG, variables);
  const settings = makeSettings(environment, file);
  const databaseUrl = environment.POSTERN_DATABASE_URL;
  const upstreams = upstreamEntries(file);
  const config: Config = {
    host: environment.POSTERN_HOST,
    port: environment.POSTERN_PORT,
    databaseUrl: new Hidden(databaseUrl),
    databasePool: environment.POSTERN_DATABASE_POOL,
    encryptionKeys: encryptionKeys(environment, file, options.makeKey ?? true),
    keyProviders: file.key_providers,
    adminToken:
      environment.POSTERN_ADMIN_TOKEN === undefined ? undefined : new Hidden(environment.POSTERN_ADMIN_TOKEN),
    admin: admin(environment),
    outboundAllow: allowList(environment.POSTERN_OUTBOUND_ALLOW, "POSTERN_OUTBOUND_ALLOW"),
    cimdAllow: allowList(environment.POSTERN_CIMD_ALLOW, "POSTERN_CIMD_ALLOW"),
    logLevel: environment.POSTERN_LOG_LEVEL,
    settings,
    limits: limits(file),
    upstreams,
    commands: stdioCommands(upstreams, variables),
    virtualKeys: file.governance.virtual_keys,
    virtualMcps: file.mcp.tool_groups,
    sso: file.sso,
    scimIdentity: scimIdentity(file),
    jwtIssuers: file.jwt.issuers,
    machines: machineTrust(file.workload_identity, file.enterprise_authorization),
    given,
    ignored,
    shown: [],
  };
  config.shown = show(config, environment, file);
  return config;
}

function readEnvironment(variables: NodeJS.ProcessEnv): Environment {
  const ours = Object.entries(variables).filter(
    ([name, value]) =>
      name.startsWith(PREFIX) && !name.startsWith(FOR_TESTS) && value !== undefined && value !== "",
  );
  return check(environmentSchema, Object.fromEntries(ours), "The environment");
}

function readFile(
  named: string | undefined,
  variables: NodeJS.ProcessEnv,
): { file: ConfigFile; given: Set<string>; ignored: string[] } {
  const path = named ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : undefined);
  if (path === undefined) {
    return { file: check(fileSchema, {}, "The configuration"), given: new Set(), ignored: [] };
  }
  let raw: unknown;
  try {
    raw = parseStrictJson(readFileSync(path));
  } catch (error) {
    if (error instanceof JsonFault) throw new BadConfiguration(`${path}: ${error.message}`);
    throw new BadConfiguration(`${path} cannot be read. Check the path given by --config or POSTERN_CONFIG.`);
  }
  const ignored: string[] = [];
  const resolved = resolveReferences(raw, variables, path, "");
  const file = check(fileSchema, resolved, path);
  collectIgnored(resolved, fileSchema, "", ignored);
  return { file, given: namedSettings(resolved as Record<string, object>), ignored };
}

function scimIdentity({ scim, sso }: ConfigFile): IdentityRule | undefined {
  if (!scim.identity) return undefined;
  const { provider: id, attribute } = scim.identity;
  const provider = sso.providers.find((one) => one.id === id);
  if (!provider) {
    const fault = "scim.identity.provider names no provider of sso.providers. Use the id of one of them.";
    throw new BadConfiguration(fault);
  }
  return { provider: `sso:${id}`, issuer: provider.issuer, attribute };
}

function namedSettings({ client = {}, limits = {} }: Record<string, object>): Set<string> {
  const paths = (group: string, values: object) => Object.keys(values).map((name) => `${group}.${name}`);
  return new Set([...paths("client", client), ...paths("limits", limits)]);
}

/** `env.NAME` as a whole string value reads the environment. Our own variables hold our own secrets and are refused. */
function resolveReferences(value: unknown, variables: NodeJS.ProcessEnv, path: string, at: string): unknown {
  if (Array.isArray(value))
    return value.map((item, index) => resolveReferences(item, variables, path, `${at}[${index}]`));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [
        key,
        resolveReferences(item, variables, path, at ? `${at}.${key}` : key),
      ]),
    );
  }
  const name = typeof value === "string" ? /^env\.([A-Za-z_][A-Za-z0-9_]*)$/.exec(value)?.[1] : undefined;
  if (name === undefined) return value;
  if (name.startsWith(PREFIX))
    throw new BadConfiguration(
      `${path}: ${at}: env.${name} names a setting of the gateway itself. Use another variable.`,
    );
  if (variables[name] === undefined)
    throw new BadConfiguration(
      `${path}: ${at}: the environment variable ${name} is not set. Set it or change the value.`,
    );
  return variables[name];
}

function check<T extends ZodType>(schema: T, value: unknown, source: string): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new BadConfiguration(describeIssue(result.error.issues[0]!, schema, source));
}

function collectIgnored(value: unknown, schema: ZodType, at: string, found: string[]): void {
  const def = (schema as unknown as { def: { innerType?: ZodType; shape?: Record<string, ZodType> } }).def;
  if (def.innerType && !def.shape && (schema.meta() as { ignored?: boolean } | undefined)?.ignored !== true) {
    collectIgnored(value, def.innerType, at, found);
    return;
  }
  if (!def.shape || typeof value !== "object" || value === null) return;
  for (const [key, item] of Object.entries(value)) {
    const child = def.shape[key];
    if (!child) continue;
    const path = at ? `${at}.${key}` : key;
    if ((child.meta() as { ignored?: boolean } | undefined)?.ignored) found.push(path);
    else collectIgnored(item, child, path, found);
  }
}

const DAY_MS = 24 * 60 * 60 * 1000;

function makeSettings(environment: Environment, file: ConfigFile): Settings {
  const { client } = file;
  return {
    baseUrl: origin(
      environment.POSTERN_BASE_URL ?? `http://localhost:${environment.POSTERN_PORT}`,
      "POSTERN_BASE_URL",
    ),
    aliases: list(environment.POSTERN_BASE_URL_ALIASES).map(
      (text) => origin(text, "POSTERN_BASE_URL_ALIASES").origin,
    ),
    enforceAuthOnInference: client.enforce_auth_on_inference,
    deviceAuthorization: client.device_authorization,
    tempTokenAuth: client.mcp_enable_temp_token_auth,
    toolTimeoutMs: client.mcp_tool_execution_timeout * 1000,
    toolSyncIntervalMs: client.mcp_tool_sync_interval * 60_000,
    toolPins: client.mcp_tool_pins,
    allowedOrigins: client.allowed_origins,
    nativeRedirectSchemes: client.native_redirect_schemes,
    accessTokenMs: client.access_token_hours * 60 * 60 * 1000,
    grantIdleMs: client.grant_idle_days * DAY_MS,
    grantMaxMs: client.grant_max_days * DAY_MS,
    keyGraceMs: client.virtual_key_grace_hours * 60 * 60 * 1000,
    auditRetentionDays: client.audit_retention_days,
    trustedProxies: list(environment.POSTERN_TRUSTED_PROXIES),
    sessionIdleMs: file.people.session_idle_hours * 60 * 60 * 1000,
    sessionMaxMs: file.people.session_max_days * DAY_MS,
    signInOrigins: signInOrigins(file.sso),
    breachedPasswordsUrl: file.people.breached_passwords_url,
  };
}

/** An origin: https, or http on loopback (contract section 11). */
function origin(text: string, source: string): URL {
  const url = URL.parse(text);
  const loopback = url !== null && ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  const wellFormed =
    url !== null && url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "";
  if (!wellFormed || (url.protocol !== "https:" && !(url.protocol === "http:" && loopback))) {
    throw new BadConfiguration(
      `${source}: ${text} must be an https origin without a path, like https://gateway.example.com (http only on loopback).`,
    );
  }
  return url;
}

function checkDatabaseUrl(url: string): void {
  if (!/^(sqlite:|postgres(ql)?:\/\/)/.test(url)) {
    throw new BadConfiguration("POSTERN_DATABASE_URL must begin with sqlite: or postgres://.");
  }
}

function encryptionKeys(environment: Environment, file: ConfigFile, makeKey: boolean): Uint8Array[] {
  if (!file.key_providers.some(({ type }) => type === "local")) {
    if (environment.POSTERN_ENCRYPTION_KEY === undefined) return [];
    throw new BadConfiguration(
      'POSTERN_ENCRYPTION_KEY is set, but key_providers has no {"type": "local"}. Add it, or remove the variable.',
    );
  }
  if (environment.POSTERN_ENCRYPTION_KEY !== undefined) return parseKeys(environment.POSTERN_ENCRYPTION_KEY);
  const url = environment.POSTERN_DATABASE_URL;
  if (url.startsWith("sqlite:"))
    return keyFromFile(url.slice("sqlite:".length), makeKey ? (bytes) => randomBytes(bytes) : undefined);
  checkDatabaseUrl(url);
  throw new BadConfiguration(
    "POSTERN_ENCRYPTION_KEY is required with Postgres. Make one with: openssl rand -base64 32",
  );
}

function admin({
  POSTERN_ADMIN_EMAIL: email,
  POSTERN_ADMIN_PASSWORD: password,
}: Environment): Config["admin"] {
  if (email === undefined && password === undefined) return undefined;
  if (email === undefined || password === undefined) {
    throw new BadConfiguration("Set both POSTERN_ADMIN_EMAIL and POSTERN_ADMIN_PASSWORD, or neither.");
  }
  return { email, password: new Hidden(password) };
}

function allowList(text: string, source: string): string[] {
  try {
    return parseAllowList(text);
  } catch (error) {
    throw new BadConfiguration(`${source}: ${(error as Error).message}`);
  }
}

function limits(file: ConfigFile): typeof defaultRateLimits {
  const chosen = Object.entries(file.limits).flatMap(([name, value]) =>
    value ? [[name, { requests: value.requests, windowMs: value.window_seconds * 1000 }]] : [],
  );
  return { ...defaultRateLimits, ...Object.fromEntries(chosen) };
}

/** Both forms of the file, without the keys that have no effect here. */
function upstreamEntries(file: ConfigFile): DefinitionBody[] {
  const entries = file.mcp.client_configs.map((entry) => {
    const known = Object.entries(entry).filter(([key]) => key in definitionBody.shape);
    return Object.fromEntries(known) as DefinitionBody;
  });
  return [...entries, ...definitionsFromMcpServers(file.mcpServers ?? {})];
}

function list(text: string): string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function show(config: Config, environment: Environment, file: ConfigFile): [string, string][] {
  const { settings } = config;
  return [
    ["listen", `${config.host}:${config.port}`],
    ["base URL", settings.baseUrl.origin],
    ["aliases", settings.aliases.join(", ") || "none"],
    ["database", environment.POSTERN_DATABASE_URL.replace(/\/\/[^@/]*@/, "//[hidden]@")],
    ["encryption key", shownKeys(environment, file)],
    ["administrator token", config.adminToken ? "[hidden]" : "none"],
    ["sign-in required on /mcp", String(settings.enforceAuthOnInference)],
    ["private addresses allowed", config.outboundAllow.join(", ") || "none"],
    ["upstreams in the file", String(config.upstreams.length)],
    ["virtual keys in the file", String(file.governance.virtual_keys.length)],
    ["virtual MCPs in the file", String(file.mcp.tool_groups.length)],
    ["JWT issuers", file.jwt.issuers.map(({ issuer }) => issuer).join(", ") || "none"],
    ["sign-in providers", file.sso.providers.map(({ id }) => id).join(", ") || "none"],
    ["workload identity rules", file.workload_identity.rules.map(({ name }) => name).join(", ") || "none"],
    [
      "enterprise authorization",
      file.enterprise_authorization.issuers.map(({ issuer }) => issuer).join(", ") || "none",
    ],
  ];
}

function shownKeys(environment: Environment, { key_providers: providers }: ConfigFile): string {
  const local =
    environment.POSTERN_ENCRYPTION_KEY === undefined
      ? "key file beside the database"
      : "POSTERN_ENCRYPTION_KEY [hidden]";
  return providers.map((entry) => (entry.type === "local" ? local : `${entry.type} ${entry.key}`)).join(", ");
}
