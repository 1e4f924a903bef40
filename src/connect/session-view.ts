import { type Owner, sameOwner } from "../base/index.ts";
import { isAdmin, ownerOf, type Principal, personOf } from "../identity/index.ts";
import type { SessionRow } from "../vault/index.ts";
import type { Started } from "./connect.ts";

/** A row of contract section 2: secrets and header values never. */
export function sessionView(row: SessionRow, caller: Principal): Record<string, unknown> {
  const owner: Owner = { mode: row.owner_mode, id: row.owner_id };
  return {
    id: row.id,
    kind: row.kind,
    auth_kind: row.auth_kind,
    auth_mode: row.owner_mode,
    status: row.status,
    status_reason: row.status_reason ?? undefined,
    created_at: time(row.created_at),
    updated_at: time(row.updated_at),
    expires_at: time(row.expires_at),
    last_refreshed_at: time(row.last_refreshed_at),
    can_reauth: row.kind !== "flow" && row.status !== "orphaned" && mayReauth(row, caller),
    ...identityFields(owner, { user: row.user_name ?? undefined, key: row.key_name ?? undefined }),
    mcp_client: { client_id: row.upstream_id, name: row.upstream_name },
    account: row.account === "" && row.is_default === null ? undefined : row.account,
    is_default: row.is_default === null ? undefined : row.is_default === 1,
    oauth_config_id: row.oauth_config_id ?? undefined,
    scopes: row.scopes_json === null ? undefined : JSON.parse(row.scopes_json),
  };
}

/** Where the person goes: a link for tokens, or one for header values. */
export function startedView({ flowId, url, kind }: Omit<Started, "expiresAt">): Record<string, unknown> {
  const started = { authorize_url: url, session_id: flowId };
  return kind === "headers" ? { ...started, submit_url: url, kind } : started;
}

/**
 * Contract section 2: a `user` row is renewed by that user only, an administrator neither. A service account has nobody of
 * its own who could, so who looks after it does (decision 0033).
 */
export function mayReauth(
  row: Pick<SessionRow, "owner_mode" | "owner_id" | "user_kind" | "user_manager_id">,
  caller: Principal,
): boolean {
  if (row.owner_mode !== "user") return true;
  const own = ownerOf(caller);
  if (own && sameOwner(own, { mode: "user", id: row.owner_id })) return true;
  if (row.user_kind !== "service") return false;
  return isAdmin(caller) || (row.user_manager_id !== null && personOf(caller) === row.user_manager_id);
}

export function identityFields(
  owner: Owner,
  names: { user?: string; key?: string },
): Record<string, unknown> {
  switch (owner.mode) {
    case "user":
      return { user_id: owner.id, user: { id: owner.id, name: names.user } };
    case "vk":
      return { virtual_key: { id: owner.id, name: names.key } };
    case "session":
      return { session_id: owner.id };
    case "flow":
    case "discovery":
    case "shared":
      return {};
  }
}

function time(ms: number | null): string | undefined {
  return ms === null ? undefined : new Date(ms).toISOString();
}
