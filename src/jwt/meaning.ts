import { claimAt } from "./claim.ts";
import type { JwtIssuer } from "./config.ts";

/** As whom a verified token counts. `subject`: whom its issuer calls so, for audit lines. */
export type JwtMeaning = { subject: string } & (
  | { kind: "vk"; virtualKey: string }
  | { kind: "user"; user: string; groups?: readonly string[]; email?: string; name?: string }
  | { kind: "admin" }
);

/** Longer values name nobody. */
const MAX_VALUE = 255;
const MAX_GROUPS = 1000;

/**
 * What a token means by the claims of its issuer, or why it means nothing: it is of another tenant, of no kind that is allowed,
 * or of two (contract section 9).
 */
export function meaningOf(
  issuer: JwtIssuer,
  claims: Record<string, unknown>,
): JwtMeaning | { refused: string } {
  const { allow, claims: names, tenant } = issuer;
  if (names.tenant !== undefined && claimAt(claims, names.tenant) !== tenant) return { refused: "tenant" };
  const virtualKey = allow.includes("vk") ? namedBy(claims, names.virtualKey) : undefined;
  const user = allow.includes("user") ? namedBy(claims, names.user) : undefined;
  const isAdmin = allow.includes("admin") && hasRole(issuer, claims);
  // What is there and cannot be read is no reason to look for something else.
  if (virtualKey === null || user === null) return { refused: "claim_malformed" };
  const kinds = [virtualKey !== undefined, user !== undefined, isAdmin].filter(Boolean).length;
  if (kinds !== 1) return { refused: kinds === 0 ? "no_kind" : "two_kinds" };
  const subject = namedBy(claims, "sub") ?? user ?? virtualKey ?? "";
  if (virtualKey !== undefined) return { kind: "vk", subject, virtualKey };
  if (user === undefined) return { kind: "admin", subject };
  return { kind: "user", subject, user, ...personOf(issuer, claims) };
}

function personOf({ claims: names }: JwtIssuer, claims: Record<string, unknown>) {
  const said = (name: string | undefined) => (name === undefined ? undefined : claimAt(claims, name));
  const groups = said(names.groups);
  return {
    groups: groups === undefined ? undefined : texts(groups),
    email: text(said(names.email)) ?? undefined,
    name: text(said(names.name)) ?? undefined,
  };
}

function hasRole({ claims: names, adminRoles }: JwtIssuer, claims: Record<string, unknown>): boolean {
  return texts(claimAt(claims, names.role)).some((role) => adminRoles.includes(role));
}

/** Undefined: the claim is not there. Null: it names nobody. */
function namedBy(claims: Record<string, unknown>, name: string): string | null | undefined {
  const value = claimAt(claims, name);
  return value === undefined || value === null ? undefined : text(value);
}

/** ID-08: exactly as it stands; what cannot be a name, as one with control characters, is none. */
function text(value: unknown): string | null {
  if (typeof value !== "string" || value === "" || value.length > MAX_VALUE) return null;
  return /[\p{Cc}\p{Cf}\p{Cs}]/u.test(value) ? null : value;
}

function texts(value: unknown): string[] {
  const list = Array.isArray(value) ? value.slice(0, MAX_GROUPS) : [value];
  return list.map(text).filter((one) => one !== null);
}
