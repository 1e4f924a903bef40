import type { Generated, Insertable, Selectable } from "kysely";
import type { OwnerMode } from "../base/index.ts";
import type {
  ApiTokensTable,
  DashboardSessionsTable,
  GroupMembersTable,
  GroupsTable,
  GroupUpstreamsTable,
  PasskeysTable,
  SpentAssertionsTable,
  TotpSecretsTable,
  UserIdentitiesTable,
  UsersTable,
  UserUpstreamsTable,
  VirtualMcpGroupsTable,
} from "./people-tables.ts";
import type { OAuthConfigsTable, ToolVersionsTable, UpstreamsTable } from "./upstream-tables.ts";

/*
 * The document of data at rest. Times are milliseconds since 1970 (UTC). Booleans are 0 or 1. `*_json` columns hold
 * JSON text without secrets. `sealed*` columns are AES-256-GCM ciphertexts bound to table, row, owner and upstream
 * (base/seal.ts). `*_hash` columns are keyed hashes of bearer values (base/hash.ts); the values are stored nowhere.
 * The tables of people are in people-tables.ts, those of the servers behind us in upstream-tables.ts.
 */
export interface Tables {
  instance: InstanceTable;
  data_keys: DataKeysTable;
  change_counter: ChangeCounterTable;
  changes: ChangesTable;
  flows: FlowsTable;
  outbox: OutboxTable;
  audit: AuditTable;
  users: UsersTable;
  dashboard_sessions: DashboardSessionsTable;
  user_identities: UserIdentitiesTable;
  passkeys: PasskeysTable;
  totp_secrets: TotpSecretsTable;
  spent_assertions: SpentAssertionsTable;
  groups: GroupsTable;
  group_members: GroupMembersTable;
  group_upstreams: GroupUpstreamsTable;
  user_upstreams: UserUpstreamsTable;
  api_tokens: ApiTokensTable;
  settings: SettingsTable;
  upstreams: UpstreamsTable;
  tool_versions: ToolVersionsTable;
  oauth_configs: OAuthConfigsTable;
  virtual_keys: VirtualKeysTable;
  virtual_key_upstreams: VirtualKeyUpstreamsTable;
  virtual_mcps: VirtualMcpsTable;
  virtual_mcp_upstreams: VirtualMcpUpstreamsTable;
  virtual_mcp_keys: VirtualMcpKeysTable;
  virtual_mcp_users: VirtualMcpUsersTable;
  virtual_mcp_groups: VirtualMcpGroupsTable;
  anonymous_sessions: AnonymousSessionsTable;
  credentials: CredentialsTable;
  clients: ClientsTable;
  grants: GrantsTable;
  tokens: TokensTable;
  ended_sessions: EndedSessionsTable;
  resource_subscriptions: ResourceSubscriptionsTable;
  replica_messages: ReplicaMessagesTable;
  finished_tasks: FinishedTasksTable;
  leases: LeasesTable;
  restores: RestoresTable;
}

/** One row per name: the sealed hash key, the sealed key check value. */
interface InstanceTable {
  name: string;
  sealed: Uint8Array;
}

/**
 * The keys that values are sealed with, each wrapped by a key-encryption key that is not in here. `next` seals nothing
 * yet: every replica knows it before it becomes `active`. Rows stay as long as a client may hold what they sealed.
 */
interface DataKeysTable {
  /** What sealed values name: derived from the key (base/seal.ts). */
  id: string;
  /** 1: a configured key that sealed values itself before there were data keys. */
  direct: number;
  state: "next" | "active" | "retired";
  wrapped: Uint8Array;
  /** Who unwraps it, and with which key. */
  provider: string;
  wrapped_by: string;
  /** The same in every row; wrapping is bound to it. */
  instance_id: string;
  created_at: number;
  retired_at: number | null;
}

/** A single row (id 1). Bumped last in a transaction, so its values become visible in order. */
interface ChangeCounterTable {
  id: number;
  value: number;
}

/** What other replicas must drop from their caches; kept for an hour. */
interface ChangesTable {
  seq: number;
  topic: string;
  key: string;
  at: number;
}

/**
 * Everything single-use and short-lived: pending consents, codes, upstream `state`s, connect links, set-up links.
 * Consumed by one statement; a tombstone (outcome, ended_at; data and secret emptied) stays 24 hours.
 */
interface FlowsTable {
  id: string;
  kind: FlowKind;
  handle_hash: string | null;
  browser_hash: string | null;
  owner_mode: OwnerMode | null;
  owner_id: string | null;
  upstream_id: string | null;
  account: string;
  parent_id: string | null;
  data_json: string;
  sealed: Uint8Array | null;
  created_at: number;
  expires_at: number;
  ended_at: number | null;
  outcome: string | null;
}

/**
 * `password`: a link by which its owner chooses a new one. `swap`: a secret of another account than before, held until its
 * person says which one counts. `sign_in`: a round trip to a sign-in provider. `second_factor`: a proved password that waits
 * for a code. `passkey`: a WebAuthn challenge. `device` and `user_code`: a device authorization and the code its person types
 * (RFC 8628), the second a child of the first.
 */
export type FlowKind =
  | "consent"
  | "code"
  | "connect"
  | "state"
  | "setup"
  | "swap"
  | "password"
  | "sign_in"
  | "second_factor"
  | "passkey"
  | "device"
  | "user_code";

/** Effects elsewhere that must happen after a local change (RFC 7009 revocations), retried with back-off. */
interface OutboxTable {
  id: string;
  kind: string;
  subject: string;
  sealed: Uint8Array;
  attempts: number;
  next_at: number;
  created_at: number;
}

/** Append-only. `detail_json` holds no secrets. */
interface AuditTable {
  id: string;
  at: number;
  event: string;
  actor: string;
  owner_mode: OwnerMode | null;
  owner_id: string | null;
  upstream_id: string | null;
  request_id: string | null;
  detail_json: string;
}

/** Settings changed while the gateway runs, by their path in the configuration file; the file wins over them. */
interface SettingsTable {
  name: string;
  value_json: string;
  updated_at: number;
}

interface VirtualKeysTable {
  id: string;
  name: string;
  source: "api" | "file";
  description: string;
  value_hash: string;
  value_tail: string;
  /** After a rotation: the value before it, which counts until `previous_value_expires_at`. */
  previous_value_hash: string | null;
  previous_value_expires_at: number | null;
  /** The configuration file names the value. */
  value_from_file: Generated<number>;
  is_active: number;
  expires_at: number | null;
  user_id: string | null;
  created_at: number;
  updated_at: number;
}

/** `tools_json`: a list of original tool names, or `["*"]`. */
interface VirtualKeyUpstreamsTable {
  virtual_key_id: string;
  upstream_id: string;
  tools_json: string;
}

/** A bundle of tools served at `/mcp/<slug>`. The slug is unique whatever its case. */
interface VirtualMcpsTable {
  id: string;
  slug: string;
  name: string;
  source: "api" | "file";
  description: string;
  disabled: number;
  /** `plain`: the names of its one upstream without the upstream's. */
  names: "prefixed" | "plain";
  /** `search`: two tools that find and call the others, in place of their definitions. */
  listing: "full" | "search";
  created_at: number;
  updated_at: number;
}

/** `tools_json` as on keys. `account`: the label of the account that is used there; null is each person's default. */
interface VirtualMcpUpstreamsTable {
  virtual_mcp_id: string;
  upstream_id: string;
  tools_json: string;
  account: string | null;
}

/** Which keys may use a virtual MCP. */
interface VirtualMcpKeysTable {
  virtual_mcp_id: string;
  virtual_key_id: string;
}

/** Which users may use a virtual MCP. */
interface VirtualMcpUsersTable {
  virtual_mcp_id: string;
  user_id: string;
}

/** When an anonymous session (`anon_…`) that has credentials was last used. */
interface AnonymousSessionsTable {
  id: string;
  last_used_at: number;
}

/** One per (owner, upstream, account). `orphaned` is a flag beside the status, so what lies beneath shows again. */
interface CredentialsTable {
  id: string;
  kind: "oauth" | "headers";
  owner_mode: OwnerMode;
  owner_id: string;
  upstream_id: string;
  account: string;
  status: "active" | "needs_reauth" | "needs_update";
  status_reason: string | null;
  orphaned: number;
  generation: number;
  sealed: Uint8Array;
  /** The provider's own id of the account, when it told us one. */
  subject: string | null;
  /** What the provider calls that account, for people to read: an e-mail address or a login. */
  subject_name: string | null;
  /** Of what was connected during a consent: the identity's account that it may replace, as its person confirmed. */
  replaces_subject: string | null;
  /** Of several accounts the one that is used when none is named; exactly one per owner and upstream. */
  is_default: Generated<number>;
  expires_at: number | null;
  /** What was granted, when the provider said so. */
  scopes_json: string | null;
  /** What was asked for when it was given. */
  asked_scopes_json: string | null;
  /** What the upstream wants for calls that it refused, to be asked for at the next consent. */
  wanted_scopes_json: string | null;
  oauth_config_id: string | null;
  refresh_holder: string | null;
  refresh_until: number | null;
  /** Transient refresh failures: not before this time again. */
  refresh_after: number | null;
  /** When the refresh began whose answer is not known: it was lost, or the process that waited for it. */
  refresh_started_at: number | null;
  last_refreshed_at: number | null;
  /** To the quarter of a day: noted now and then, never for a call. */
  used_at: number | null;
  /** When it is looked at again, unused or not, so that its refresh token does not run out. */
  keep_alive_at: number | null;
  created_at: number;
  updated_at: number;
}

/** A client that somebody approved at least once, or that an administrator registered. */
interface ClientsTable {
  id: string;
  /** `workload`: no client at all, but what the grants of a rule of the configuration file hang on. */
  kind: "dcr" | "cimd" | "static" | "workload";
  /** The wire `client_id`; sealed metadata for `dcr`, hence looked up by hash. Of a `workload` rule: all it says. */
  client_id_hash: string;
  name: string;
  redirect_uris_json: string;
  secret_hash: string | null;
  created_at: number;
}

/** A consent: identity, client, redirect URI, scope, resource, upstreams (null: all). The contract's "session row". */
interface GrantsTable {
  id: string;
  client_row_id: string;
  client_name: string;
  owner_mode: OwnerMode;
  owner_id: string;
  virtual_key_id: string | null;
  /** Keyed hash of the browser's grant cookie (session grants finish their own flows with it). */
  browser_hash: string | null;
  /** Where the client was answered; without a browser in between, the name of the grant type, and of an ID-JAG its issuer. */
  redirect_uri: string;
  scope: string;
  resource: string;
  upstreams_json: string | null;
  status: "pending" | "active";
  created_at: number;
  last_used_at: number | null;
  /** Ends without use at `idle_until`, at the latest at `ends_at`. */
  idle_until: number;
  ends_at: number;
}

/** Access and refresh tokens of a grant. A rotated refresh token keeps its successor pair sealed for 30 seconds. */
interface TokensTable {
  hash: string;
  grant_id: string;
  kind: "access" | "refresh";
  created_at: number;
  expires_at: number;
  rotated_at: number | null;
  /** When the successor refresh token was first presented; from then on a repeat is reuse. */
  successor_used_at: number | null;
  predecessor_hash: string | null;
  sealed_successor: Uint8Array | null;
}

/** Sessions of older MCP clients that were ended before their time; kept until the sealed id would expire by itself. */
interface EndedSessionsTable {
  id: string;
  expires_at: number;
}

/** What a session of an older MCP client follows. `id`: a hash of both; `uri` as that client calls it. `binding`: whose session it is. */
interface ResourceSubscriptionsTable {
  id: string;
  session: string;
  uri: string;
  binding: string;
  expires_at: number;
}

/** What one replica tells another about a call it holds; taken by the one it names, dropped after ten minutes. */
interface ReplicaMessagesTable {
  id: string;
  sealed: Uint8Array;
  expires_at: number;
}

/** What only one replica does at a time. `until`: by the clock of the database; whoever comes later may take it. */
interface LeasesTable {
  name: string;
  holder: string;
  until: number;
}

/** Results kept as tasks for clients that wanted one, sealed for id and owner. */
interface FinishedTasksTable {
  id: string;
  binding: string;
  sealed: Uint8Array;
  expires_at: number;
}

/** Which backups this database was made from, and when. A credential that is older than the backup may have been used since. */
interface RestoresTable {
  id: string;
  backup_made_at: number;
  restored_at: number;
}

export type Row<T extends keyof Tables> = Selectable<Tables[T]>;
export type NewRow<T extends keyof Tables> = Insertable<Tables[T]>;
