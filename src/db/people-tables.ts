import type { Generated } from "kysely";

/* The tables of people, by the rules of tables.ts. */

/**
 * `kind` service: a machine's identity, which never signs in and acts through its keys; `manager_id` looks after it.
 * `source`: who made the account, and keeps it: `api`, `scim`, or the id of a sign-in provider (`sso:<id>`, `jwt:<issuer>`).
 */
export interface UsersTable {
  id: string;
  email: string;
  name: string;
  password_hash: string | null;
  /** What counts, a group's part included. */
  role: "admin" | "member";
  /** What the person is without their groups, while a group makes them more (identity/group-roles.ts); null: `role` is their own. */
  own_role: "admin" | "member" | null;
  is_active: number;
  kind: Generated<"person" | "service">;
  manager_id: string | null;
  source: Generated<string>;
  /** SCIM's `userName`, in lower case; null where the e-mail address is it (RFC 7643 §4.1.1). */
  user_name: string | null;
  /** The name a provisioning client has for it (RFC 7643 §3.1). */
  external_id: string | null;
  /** RFC 7643 attributes beyond the columns. */
  scim_json: string | null;
  created_at: number;
  updated_at: number;
}

/** Who a person is elsewhere: (issuer, subject), never an e-mail address or a name (attack ID-18). */
export interface UserIdentitiesTable {
  id: string;
  user_id: string;
  issuer: string;
  subject: string;
  /** `sso:<id>` or `jwt:<issuer>`: through whom it came first. */
  provider: string;
  /** What the issuer called the account when it was last seen, for people to read. */
  display: string;
  created_at: number;
  last_used_at: number;
}

/** `credential_id` and `public_key` as WebAuthn has them; nothing of it is secret. */
export interface PasskeysTable {
  id: string;
  user_id: string;
  credential_id: string;
  public_key: Uint8Array;
  counter: number;
  transports_json: string;
  name: string;
  backed_up: number;
  created_at: number;
  last_used_at: number | null;
}

/** One per person. Counts from `confirmed_at` on; a code counts once (`last_step`, RFC 6238 §5.2). */
export interface TotpSecretsTable {
  user_id: string;
  sealed: Uint8Array;
  confirmed_at: number | null;
  last_step: number;
  created_at: number;
}

export interface DashboardSessionsTable {
  id: string;
  token_hash: string;
  user_id: string;
  created_at: number;
  last_seen_at: number;
  expires_at: number;
  /** How the person signed in: `password`, `password+totp`, `passkey`, `link`, `sso`. */
  method: Generated<string>;
  /** What the browser called itself, shortened, for its person to recognise. */
  agent: string | null;
  /** Signed in elsewhere: the provider, its subject and its session, which its log-out names. */
  provider: string | null;
  provider_subject: string | null;
  provider_session: string | null;
  /** The ID token, which the provider's log-out wants back (OIDC RP-Initiated Logout §2). */
  sealed: Uint8Array | null;
}

/** What a person may use by name. `tools_json`: a list of original tool names, or `["*"]`. */
export interface UserUpstreamsTable {
  user_id: string;
  upstream_id: string;
  tools_json: string;
}

/** Management API tokens. Without `user_id`: made with POSTERN_ADMIN_TOKEN and nobody's. */
export interface ApiTokensTable {
  id: string;
  name: string;
  token_hash: string;
  token_tail: string;
  user_id: string | null;
  role: "admin" | "member";
  scopes_json: string;
  expires_at: number | null;
  last_used_at: number | null;
  created_at: number;
}

/** People with something in common, and what it gives them. `role`: what they are at least. */
export interface GroupsTable {
  id: string;
  name: string;
  description: string;
  role: "admin" | "member" | null;
  /** `api` or `scim`. */
  source: string;
  external_id: string | null;
  created_at: number;
  updated_at: number;
}

/** `via`: who put the person in, and may take them out again: `api`, `scim`, `sso:<id>` or `jwt:<issuer>`. */
export interface GroupMembersTable {
  group_id: string;
  user_id: string;
  via: string;
}

/** `tools_json` as on keys. */
export interface GroupUpstreamsTable {
  group_id: string;
  upstream_id: string;
  tools_json: string;
}

export interface VirtualMcpGroupsTable {
  virtual_mcp_id: string;
  group_id: string;
}

/** Assertions that were accepted and must not be again (RFC 7523 §3, point 7; SAML Core §2.5.1.5). `hash`: of issuer and id, or of a subject whose account was deleted. */
export interface SpentAssertionsTable {
  hash: string;
  expires_at: number;
}
