import { z } from "zod";
import { type Hidden, Problem, type Tls } from "../base/index.ts";
import { checkPrivateKey } from "./client-key.ts";
import { checkForwardedHeader, checkHeader } from "./headers.ts";
import { checkHeaderKeys, MAX_HEADER_KEYS } from "./per-user-headers.ts";
import { shippedProfiles } from "./profiles.ts";
import { keepSecret, resolveHeaders } from "./redaction.ts";
import { checkStdio, type StdioSettings, stdioConfig } from "./stdio.ts";
import { checkTls, tlsConfig } from "./tls-config.ts";
import {
  type AuthType,
  authMethods,
  authTypes,
  type ConnectionType,
  connectionTypes,
  grantTypes,
  type OAuthSettings,
  type Upstream,
} from "./upstream.ts";

const MINUTE_MS = 60_000;
const url = z.string().min(1).max(2048);
const toolNames = z.array(z.string().min(1).max(256)).max(2000);

const oauthConfig = z.strictObject({
  client_id: z.string().min(1).max(2048).nullish(),
  client_secret: z.string().max(4096).nullish(),
  grant_type: z.enum(grantTypes).nullish(),
  token_endpoint_auth_method: z.enum(authMethods).nullish(),
  /** PEM or a JWK, as text or as the object it is. */
  private_key: z.union([z.string().max(16_384), z.record(z.string().max(64), z.unknown())]).nullish(),
  private_key_id: z.string().min(1).max(256).nullish(),
  authorize_url: url.nullish(),
  token_url: url.nullish(),
  registration_url: url.nullish(),
  revocation_url: url.nullish(),
  // RFC 6749 §3.3: scope-token.
  scopes: z
    .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/, "a scope has no spaces or quotes"))
    .max(100)
    .nullish(),
  resource: z.string().max(2048).nullish(),
  redirect: z.enum(["own", "shared"]).nullish(),
  profile: z
    .string()
    .max(40)
    .refine(
      (provider) => shippedProfiles().has(provider),
      "no profile has this name; see docs/guide/providers.md",
    )
    .nullish(),
  /** Read-only, so that what was read can be sent back. */
  redirect_uri: z.string().max(2048).optional(),
});

type OAuthConfig = z.output<typeof oauthConfig>;

const fields = {
  connection_type: z.enum(connectionTypes),
  connection_string: url,
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

/** A checked definition. `timeoutMs` and `syncIntervalMs` are unset where the gateway's own setting counts. */
export interface Definition {
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
  /** `keep`: what is stored stays (none for a new upstream). `null`: none. */
  clientSecret: Hidden | "keep" | null;
  /** The same for the key that signs client assertions. */
  privateKey: Hidden | "keep" | null;
  toolsToExecute: string[];
  allowedExtraHeaders: string[];
  allowOnAllVirtualKeys: boolean;
  disabled: boolean;
  timeoutMs?: number;
  syncIntervalMs?: number;
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
  const oauth = isOAuth(authType) ? checkOAuth(body.oauth_config ?? {}, authType, previous) : undefined;
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
  };
}

function checkSupported(body: DefinitionBody, connectionType: ConnectionType, authType: AuthType): void {
  if (authType === "token_exchange") {
    throw invalid(
      "unsupported_auth_type",
      `auth_type ${authType} is not supported. Use none, headers, oauth, per_user_oauth or per_user_headers.`,
      "auth_type",
    );
  }
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
      "oauth_config goes with auth_type oauth and per_user_oauth only. Leave it out.",
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

function isOAuth(authType: AuthType): authType is "oauth" | "per_user_oauth" {
  return authType === "oauth" || authType === "per_user_oauth";
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

function checkOAuth(
  config: OAuthConfig,
  authType: "oauth" | "per_user_oauth",
  previous?: Upstream,
): Pick<Definition, "clientSecret" | "privateKey"> & { oauth: OAuthSettings } {
  const at = "oauth_config.";
  const had = previous?.oauth;
  const clientSecret = keepSecret(config.client_secret, had?.hasClientSecret ?? false, `${at}client_secret`);
  const privateKey = keepSecret(textOf(config.private_key), had?.hasPrivateKey ?? false, `${at}private_key`);
  if (privateKey !== null && privateKey !== "keep") checkPrivateKey(privateKey.reveal());
  checkClient(config, authType, { clientSecret, privateKey });
  const endpoint = (field: "authorize_url" | "token_url" | "registration_url" | "revocation_url") =>
    config[field] ? checkUrl(config[field], `oauth_config.${field}`).href : undefined;
  return {
    clientSecret,
    privateKey,
    oauth: {
      grantType: config.grant_type ?? undefined,
      clientId: config.client_id ?? undefined,
      hasClientSecret: clientSecret !== null,
      ...(privateKey === null ? {} : { hasPrivateKey: true }),
      privateKeyId: config.private_key_id ?? undefined,
      authMethod: config.token_endpoint_auth_method ?? undefined,
      authorizeUrl: endpoint("authorize_url"),
      tokenUrl: endpoint("token_url"),
      registrationUrl: endpoint("registration_url"),
      revocationUrl: endpoint("revocation_url"),
      scopes: config.scopes ?? [],
      resource: checkResource(config.resource),
      redirect: config.redirect ?? "own",
      profile: config.profile ?? undefined,
    },
  };
}

/** Which of the two proofs a given client has, and whether that is enough for what it is to do. */
function checkClient(
  config: OAuthConfig,
  authType: "oauth" | "per_user_oauth",
  { clientSecret, privateKey }: Pick<Definition, "clientSecret" | "privateKey">,
): void {
  const isAlone = config.grant_type === "client_credentials";
  const method = config.token_endpoint_auth_method;
  const proof = clientSecret ?? privateKey;
  if ((proof !== null || isAlone || method) && !config.client_id) {
    const message =
      "A client_secret, a private_key, a token_endpoint_auth_method and client_credentials need a client_id.";
    throw invalid("client_id_required", message, "oauth_config.client_id");
  }
  if (isAlone && authType !== "oauth") {
    const message = "grant_type client_credentials goes with auth_type oauth only. Leave it out.";
    throw invalid("unsupported_field", message, "oauth_config.grant_type");
  }
  const isKey = method === "private_key_jwt" || (!method && clientSecret === null && privateKey !== null);
  const needed = isKey ? "private_key" : "client_secret";
  if ((method || isAlone) && (isKey ? privateKey : clientSecret) === null) {
    const what = method ? `token_endpoint_auth_method ${method}` : "grant_type client_credentials";
    const or = method ? "" : " or a private_key";
    throw invalid("client_secret_required", `${what} needs a ${needed}${or}.`, `oauth_config.${needed}`);
  }
}

function textOf(key: OAuthConfig["private_key"]): string | null | undefined {
  return typeof key === "object" && key !== null ? JSON.stringify(key) : key;
}

function checkResource(resource: string | null | undefined): string | undefined {
  if (resource === null || resource === undefined || resource === "") return resource ?? undefined;
  // RFC 8707 §2: an absolute URI without a fragment. Kept as written: servers compare it byte by byte.
  const parsed = URL.parse(resource);
  if (!parsed || resource.includes("#"))
    throw invalid("invalid_url", "Give an absolute URI without a fragment.", "oauth_config.resource");
  return resource;
}

function checkUrl(text: string | undefined, param: string): URL {
  if (text === undefined)
    throw invalid("invalid_request", `${param} is missing. Give the http(s) address.`, param);
  const parsed = URL.parse(text);
  if (!parsed || (parsed.protocol !== "https:" && parsed.protocol !== "http:")) {
    throw invalid("invalid_url", "Give an absolute http or https address.", param);
  }
  if (parsed.username !== "" || parsed.password !== "" || text.includes("#")) {
    throw invalid("invalid_url", "Leave out the user name, the password and the #fragment.", param);
  }
  return parsed;
}

export function invalid(code: string, message: string, param: string): Problem {
  return new Problem("invalid", code, message, { param });
}
