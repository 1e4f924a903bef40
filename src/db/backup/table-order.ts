import type { Tables } from "../tables.ts";

/**
 * Every table, parents before their children, and whether a backup holds it. What replicas tell each other means nothing
 * in another database.
 */
const inBackup: Record<keyof Tables, boolean> = {
  instance: true,
  data_keys: true,
  restores: true,
  settings: true,
  users: true,
  dashboard_sessions: true,
  user_identities: true,
  passkeys: true,
  totp_secrets: true,
  groups: true,
  group_members: true,
  api_tokens: true,
  upstreams: true,
  tool_versions: true,
  oauth_configs: true,
  user_upstreams: true,
  group_upstreams: true,
  virtual_keys: true,
  virtual_key_upstreams: true,
  virtual_mcps: true,
  virtual_mcp_upstreams: true,
  virtual_mcp_keys: true,
  virtual_mcp_users: true,
  virtual_mcp_groups: true,
  anonymous_sessions: true,
  credentials: true,
  clients: true,
  grants: true,
  tokens: true,
  flows: true,
  outbox: true,
  ended_sessions: true,
  resource_subscriptions: true,
  finished_tasks: true,
  spent_assertions: true,
  audit: true,
  change_counter: false,
  changes: false,
  replica_messages: false,
  leases: false,
};

const all = Object.keys(inBackup) as (keyof Tables)[];

/** Every table of ours, parents first. */
export const tableOrder: readonly (keyof Tables)[] = all;

/** What a backup holds, parents first. */
export const backedUp: readonly (keyof Tables)[] = all.filter((table) => inBackup[table]);
