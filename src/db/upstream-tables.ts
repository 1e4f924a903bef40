import type { Generated } from "kysely";

/* The tables of the servers behind us, by the rules of tables.ts. */

/** `definition_json`: the contract's section 7 body without secrets. `sealed_headers`: the static header values. `sealed_tls`: `tls_config`. */
export interface UpstreamsTable {
  id: string;
  name: string;
  source: "api" | "file";
  connection_type: "http" | "sse" | "stdio";
  connection_string: string | null;
  auth_type: string;
  definition_json: string;
  sealed_headers: Uint8Array | null;
  sealed_tls: Uint8Array | null;
  allow_on_all_virtual_keys: number;
  disabled: number;
  state: string;
  failure_json: string | null;
  /** Rises with every change of address or authorization; late writers compare it. */
  generation: number;
  era: "modern" | "legacy" | null;
  /** The tools that clients see: approved definitions only, and of those what the last reading and the policy leave. */
  tools_json: string | null;
  /** When the first list was approved by being read; null: the next one is. */
  tools_approved_at: number | null;
  /** How many definitions wait for an administrator. */
  held_tools: Generated<number>;
  /** What it offers beside tools, read with them: capabilities, resources, templates, prompts. */
  features_json: string | null;
  tools_synced_at: number | null;
  created_at: number;
  updated_at: number;
}

/** One definition of a tool, as an upstream offered it at some time, and what was decided about it. */
export interface ToolVersionsTable {
  upstream_id: string;
  /** SHA-256 of the canonical JSON of the whole definition, its name included. */
  hash: string;
  /** As a JSON string: such a text has no NUL and no lone surrogate. */
  name: string;
  definition_json: string;
  status: "approved" | "held" | "rejected";
  /** How often the last reading had it. */
  offered: number;
  first_seen_at: number;
  decided_at: number | null;
  /** An actor as in the audit, or `first_reading`, `tools_to_execute`, `policy`. */
  decided_by: string | null;
}

/** How we are a client of one upstream's authorization server. `metadata_json`: the endpoints recorded at discovery. */
export interface OAuthConfigsTable {
  id: string;
  upstream_id: string;
  issuer: string | null;
  redirect_uri: string;
  resource: string | null;
  client_id: string | null;
  client_source: "given" | "cimd" | "dcr" | null;
  sealed_client_secret: Uint8Array | null;
  /** As it was given: PEM or a JWK. */
  sealed_private_key: Uint8Array | null;
  /** What is shown for a token of the gateway's own: a workload's JWT, or an identity assertion. */
  sealed_assertion: Uint8Array | null;
  /** The secret of the client at the identity provider. */
  sealed_idp_secret: Uint8Array | null;
  /** With what a client that was registered dynamically manages its registration (RFC 7592). */
  sealed_management: Uint8Array | null;
  metadata_json: string | null;
  scopes_json: string;
  /** When the gateway last registered anew by itself, because its client was not known any more. */
  registered_again_at: number | null;
  created_at: number;
  updated_at: number;
}
