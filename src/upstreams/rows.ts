import { Hidden, type Seal, type SealContext, type Settings, type ToolPinPolicy } from "../base/index.ts";
import type { Row } from "../db/index.ts";
import type { Definition } from "./definition.ts";
import type { StdioSettings } from "./stdio.ts";
import { openTls, sealTls } from "./tls-rows.ts";
import type {
  AuthType,
  Failure,
  Features,
  OAuthSettings,
  ToolDefinition,
  Upstream,
  UpstreamState,
} from "./upstream.ts";

/** What `upstreams.definition_json` holds: no secrets. Times in milliseconds. */
interface StoredDefinition {
  oauth?: OAuthSettings;
  stdio?: StdioSettings;
  /** Absent in rows of upstreams without. */
  perUserHeaderKeys?: string[];
  toolsToExecute: string[];
  allowedExtraHeaders: string[];
  timeoutMs?: number;
  syncIntervalMs?: number;
  toolPins?: ToolPinPolicy;
}

/** The columns of `oauth_configs` that an upstream shows. */
export interface OAuthColumns {
  oauth_config_id: string | null;
  redirect_uri: string | null;
  oauth_version: number | null;
}

export type UpstreamRow = Row<"upstreams"> & OAuthColumns;

const perPerson: ReadonlySet<string> = new Set(["per_user_oauth", "per_user_headers", "token_exchange"]);

export function readUpstream(row: UpstreamRow, seal: Seal, settings: Settings): Upstream {
  const stored = JSON.parse(row.definition_json) as StoredDefinition;
  return {
    id: row.id,
    name: row.name,
    source: row.source,
    connectionType: row.connection_type,
    url: new URL(row.connection_string!),
    stdio: stored.stdio,
    authType: row.auth_type as AuthType,
    perUser: perPerson.has(row.auth_type),
    exchanged: row.auth_type === "token_exchange",
    shared: row.auth_type === "oauth",
    headers: openHeaders(row, seal),
    tls: openTls(row, seal),
    perUserHeaderKeys: stored.perUserHeaderKeys ?? [],
    toolsToExecute: stored.toolsToExecute,
    allowedExtraHeaders: stored.allowedExtraHeaders,
    allowOnAllVirtualKeys: row.allow_on_all_virtual_keys === 1,
    disabled: row.disabled === 1,
    state: row.disabled === 1 ? "disabled" : (row.state as UpstreamState),
    generation: row.generation,
    era: row.era ?? undefined,
    tools: row.tools_json ? (JSON.parse(row.tools_json) as ToolDefinition[]) : [],
    features: row.features_json ? (JSON.parse(row.features_json) as Features) : undefined,
    heldTools: row.held_tools,
    toolsApprovedAt: row.tools_approved_at ?? undefined,
    toolsSyncedAt: row.tools_synced_at ?? undefined,
    // The gateway's own may change while it runs.
    get timeoutMs() {
      return stored.timeoutMs ?? settings.toolTimeoutMs;
    },
    get syncIntervalMs() {
      return stored.syncIntervalMs ?? settings.toolSyncIntervalMs;
    },
    get toolPins() {
      return stored.toolPins ?? settings.toolPins;
    },
    oauth: stored.oauth,
    oauthConfigId: row.oauth_config_id ?? undefined,
    redirectUri: row.redirect_uri ?? undefined,
    oauthVersion: row.oauth_version ?? undefined,
    lastFailure: row.failure_json ? (JSON.parse(row.failure_json) as Failure) : undefined,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

/** What an administrator gave for this upstream, apart from the gateway's own settings. */
export function ownSettings(
  row: UpstreamRow,
): Pick<StoredDefinition, "timeoutMs" | "syncIntervalMs" | "toolPins"> {
  const { timeoutMs, syncIntervalMs, toolPins } = JSON.parse(row.definition_json) as StoredDefinition;
  return { timeoutMs, syncIntervalMs, toolPins };
}

/** The columns a definition decides. */
export function definitionColumns(id: string, definition: Definition, seal: Seal) {
  const stored: StoredDefinition = {
    oauth: definition.oauth,
    stdio: definition.stdio,
    perUserHeaderKeys: definition.perUserHeaderKeys.length > 0 ? definition.perUserHeaderKeys : undefined,
    toolsToExecute: definition.toolsToExecute,
    allowedExtraHeaders: definition.allowedExtraHeaders,
    timeoutMs: definition.timeoutMs,
    syncIntervalMs: definition.syncIntervalMs,
    toolPins: definition.toolPins,
  };
  return {
    name: definition.name,
    connection_type: definition.connectionType,
    connection_string: definition.url.href,
    auth_type: definition.authType,
    definition_json: JSON.stringify(stored),
    sealed_headers: sealHeaders(id, definition.headers, seal),
    sealed_tls: sealTls(id, definition.tls, seal),
    allow_on_all_virtual_keys: definition.allowOnAllVirtualKeys ? 1 : 0,
    disabled: definition.disabled ? 1 : 0,
  };
}

export function headersContext(id: string): SealContext {
  return ["upstreams", "sealed_headers", id, "", "", id];
}

function sealHeaders(id: string, headers: Record<string, Hidden>, seal: Seal): Buffer | null {
  const entries = Object.entries(headers).map(([name, value]) => [name, value.reveal()]);
  if (entries.length === 0) return null;
  return seal.seal(JSON.stringify(Object.fromEntries(entries)), headersContext(id));
}

function openHeaders(row: UpstreamRow, seal: Seal): Record<string, Hidden> {
  if (!row.sealed_headers) return {};
  const plain = JSON.parse(seal.openText(row.sealed_headers, headersContext(row.id))) as Record<
    string,
    string
  >;
  return Object.fromEntries(Object.entries(plain).map(([name, value]) => [name, new Hidden(value)]));
}
