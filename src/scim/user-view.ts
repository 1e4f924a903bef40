import { Problem } from "../base/index.ts";
import type { Row } from "../db/index.ts";
import { isObject, type Json, type Resource } from "./resource.ts";
import { USER } from "./schemas.ts";
import { foldName } from "./user-columns.ts";
import { versionOf } from "./version.ts";

export type UserRow = Row<"users">;

/** A group of a person, as the person's resource names it. */
export interface Membership {
  id: string;
  name: string;
}

/** What a resource comes to in the columns of an account; the rest of it is `scim`. */
export interface AccountFields {
  /** The address people know the account by; undefined where the resource has none. */
  email?: string;
  /** Whether another account may have that address without standing in the way of this one. */
  mayShare: boolean;
  /** Null where the address is the name. */
  userName: string | null;
  name: string;
  externalId: string | null;
  isActive: boolean;
  scim: string;
}

/** What SCIM holds of one account may be so large, in characters of JSON. */
const MAX_STORED = 65_536;
const MAX_NAME = 256;

/**
 * The account as a resource (RFC 7643 §4.1), without `groups` and `meta`. One that SCIM did not make shows what it has: its address
 * as `userName` and as its only e-mail.
 */
export function contentOf(row: UserRow): Resource {
  const stored: Resource = row.scim_json === null ? madeUp(row) : (JSON.parse(row.scim_json) as Resource);
  return {
    userName: row.user_name ?? row.email,
    ...stored,
    displayName: row.name,
    ...(row.external_id === null ? {} : { externalId: row.external_id }),
    active: row.is_active === 1,
  };
}

function madeUp({ name, email }: UserRow): Resource {
  return { name: { formatted: name }, emails: [{ value: email, type: "work", primary: true }] };
}

export function viewUser(row: UserRow, groups: readonly Membership[] | undefined, base: string): Resource {
  const { userName, ...content } = contentOf(row);
  const extensions = Object.keys(content).filter((name) => name.startsWith("urn:"));
  return {
    schemas: [USER, ...extensions],
    id: row.id,
    userName: userName!,
    ...content,
    ...(groups && groups.length > 0 ? { groups: groups.map((group) => viewMembership(group, base)) } : {}),
    meta: {
      resourceType: "User",
      created: new Date(row.created_at).toISOString(),
      lastModified: new Date(row.updated_at).toISOString(),
      location: `${base}/Users/${row.id}`,
      version: versionOfUser(row),
    },
  };
}

function viewMembership({ id, name }: Membership, base: string): Resource {
  return { value: id, $ref: `${base}/Groups/${id}`, display: name, type: "direct" };
}

export function versionOfUser(row: UserRow): string {
  const { id, email, name, user_name, external_id, scim_json, is_active, updated_at } = row;
  return versionOf([id, email, name, user_name, external_id, scim_json, is_active, updated_at]);
}

/**
 * What the account becomes. The address of the account is `userName` where that is one, else the primary e-mail. `active` not said
 * changes nothing. Throws 400 `invalid_value`.
 */
export function fieldsOf(content: Resource, isActive: boolean): AccountFields {
  const { userName, displayName, externalId, active, ...rest } = content;
  const given = typeof userName === "string" ? userName.trim() : "";
  if (given === "") throw faulty("userName", "is missing");
  if (given.length > 254) throw faulty("userName", "is longer than 254 characters");
  const isAddress = looksLikeAddress(foldName(given));
  const scim = JSON.stringify({ userName: given, ...rest });
  if (scim.length > MAX_STORED) throw faulty("The resource", `takes more than ${MAX_STORED} characters`);
  return {
    email: isAddress ? foldName(given) : addressIn(rest.emails),
    mayShare: !isAddress,
    userName: isAddress ? null : foldName(given),
    name: nameOf(displayName, rest.name, given),
    externalId: typeof externalId === "string" ? externalId : null,
    isActive: typeof active === "boolean" ? active : isActive,
    scim,
  };
}

function nameOf(displayName: Json | undefined, name: Json | undefined, userName: string): string {
  const parts: Resource = isObject(name) ? (name as Resource) : {};
  const whole = [parts.givenName, parts.familyName].filter((part) => typeof part === "string").join(" ");
  const found = [displayName, parts.formatted, whole].find(
    (one) => typeof one === "string" && one.trim() !== "",
  );
  return ((found as string | undefined) ?? userName).slice(0, MAX_NAME);
}

/** The primary one, else one of work, else the first that is an address. */
function addressIn(emails: Json | undefined): string | undefined {
  const all = (Array.isArray(emails) ? emails : [])
    .filter((one): one is Resource => isObject(one))
    .map(({ value, primary, type }) => ({ address: foldName(String(value ?? "")), primary, type }))
    .filter(({ address }) => looksLikeAddress(address));
  return (all.find(({ primary }) => primary === true) ?? all.find(({ type }) => type === "work") ?? all[0])
    ?.address;
}

function looksLikeAddress(text: string): boolean {
  return text.length <= 254 && /^[^\s@]+@[^\s@]+$/.test(text);
}

function faulty(name: string, fault: string): Problem {
  return new Problem("invalid", "invalid_value", `${name} ${fault}. Correct it.`, { param: name });
}
