import type { Row } from "../db/index.ts";

/** Who a person is elsewhere. Times in milliseconds since 1970. */
export interface Identity {
  id: string;
  userId: string;
  issuer: string;
  subject: string;
  /** `sso:<id>` or `jwt:<issuer>`: through whom it came first. */
  provider: string;
  /** What the issuer called the account last, for people to read. */
  display: string;
  createdAt: number;
  lastUsedAt: number;
}

const MAX_DISPLAY = 254;

export function toIdentity(row: Row<"user_identities">): Identity {
  return {
    id: row.id,
    userId: row.user_id,
    issuer: row.issuer,
    subject: row.subject,
    provider: row.provider,
    display: row.display,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at,
  };
}

export function displayOf(said: { email?: string; name?: string; subject: string }): string {
  return (said.email ?? said.name ?? said.subject).slice(0, MAX_DISPLAY);
}
