import type { Settings, World } from "../base/index.ts";
import type { Database } from "../db/index.ts";
import type { Groups, Identities, Principal, Recorder, Users } from "../identity/index.ts";

/** By which attribute an account and a sign-in elsewhere are the same person. */
export interface IdentityRule {
  /** `sso:<id>`. */
  provider: string;
  issuer: string;
  attribute: "externalId" | "userName";
}

export interface ScimParts {
  database: Database;
  world: World;
  settings: Settings;
  users: Users;
  groups: Groups;
  identities: Identities;
  record: Recorder;
  identityRule?: IdentityRule;
}

/** Who asked, for the audit line, and the request, whose conditions count (RFC 7644 §3.14). */
export interface Asking {
  caller: Principal;
  requestId: string;
  request: Request;
}

/** Who put people into groups, and made accounts and groups. */
export const SCIM = "scim";

/** Where resources are, as `meta.location` says it. */
export function scimBase({ settings }: Pick<ScimParts, "settings">): string {
  return `${settings.baseUrl.origin}/scim/v2`;
}
