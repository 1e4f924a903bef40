import type { Assertion } from "../identity/index.ts";
import type { PersonMapping, SsoProvider } from "./config.ts";
import { vouching } from "./parts.ts";
import { notAdmitted, refusedAnswer } from "./refusals.ts";

/** What a provider said about a person, verified, as claims or attributes. */
export interface Said {
  subject: string;
  /** A claim, wherever the provider said it. */
  read(name: string): unknown;
  /** A claim of the signed statement itself: roles and conditions count from nowhere else. */
  signed(name: string): unknown;
  /** Whether the provider said that it does not list this claim's values here (Entra's overage). */
  withheld(name: string): boolean;
}

/** Values of a claim beyond which the answer is refused (attack ID-29). */
const MAX_VALUES = 2_000;
const MAX_SUBJECT = 255;
const MAX_EMAIL = 254;
const MAX_NAME = 128;
/** Control characters, and those that turn text around: they must reach neither a page nor a database. */
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** What it means here. Throws 403 `sso_answer_refused`, `sso_not_admitted`. */
export function assertionOf(provider: SsoProvider, said: Said): Assertion {
  const { mapping } = provider;
  // OIDC Core §2: at most 255 characters.
  const { subject } = said;
  if (
    subject === "" ||
    subject.length > MAX_SUBJECT ||
    subject.search(INVISIBLE) >= 0 ||
    !subject.isWellFormed()
  )
    throw refusedAnswer(provider, "subject_malformed");
  const email = emailOf(mapping, said);
  checkConditions(provider, said, email);
  return {
    provider: vouching(provider),
    issuer: provider.issuer,
    subject,
    email,
    name: nameOf(said.read(mapping.claims.name)),
    role: roleOf(provider, said),
    groups: groupsOf(provider, said),
    externalId: mapping.scimId === undefined ? undefined : textOf(said.signed(mapping.scimId)),
  };
}

/** An address that its provider calls unverified is nobody's: anybody could have typed it. */
function emailOf({ claims }: PersonMapping, said: Said): string | undefined {
  const email = textOf(said.read(claims.email))?.trim();
  if (email === undefined || email.length > MAX_EMAIL || !/^[^\s@]+@[^\s@]+$/.test(email)) return undefined;
  if (email.search(INVISIBLE) >= 0) return undefined;
  const verified = said.read("email_verified");
  return verified === false || verified === "false" ? undefined : email;
}

function nameOf(value: unknown): string | undefined {
  const name = textOf(value)?.replaceAll(INVISIBLE, "").trim().slice(0, MAX_NAME).toWellFormed();
  return name === "" ? undefined : name;
}

function textOf(value: unknown): string | undefined {
  if (typeof value !== "string" || !value.isWellFormed() || value.includes("\0")) return undefined;
  return value === "" ? undefined : value;
}

function checkConditions(provider: SsoProvider, said: Said, email: string | undefined): void {
  const { emailDomains, requiredClaims } = provider.mapping;
  for (const [name, allowed] of Object.entries(requiredClaims)) {
    const values = valuesOf(provider, said.signed(name));
    if (!values.some((value) => allowed.includes(value)))
      throw notAdmitted(provider, `required_claim_${name}`);
  }
  const domain = email?.slice(email.indexOf("@") + 1).toLowerCase();
  if (emailDomains && !(domain !== undefined && emailDomains.includes(domain)))
    throw notAdmitted(provider, "email_domain");
}

/** Where a role claim is configured the provider decides: who has none of its values is a member, from the next sign-in on. */
function roleOf(provider: SsoProvider, said: Said): Assertion["role"] {
  const { claims, roles } = provider.mapping;
  if (claims.role === undefined || said.withheld(claims.role)) return undefined;
  const values = valuesOf(provider, said.signed(claims.role));
  return values.some((value) => Object.hasOwn(roles, value) && roles[value] === "admin") ? "admin" : "member";
}

function groupsOf(provider: SsoProvider, said: Said): string[] | undefined {
  const { claims, groups } = provider.mapping;
  if (claims.groups === undefined || said.withheld(claims.groups)) return undefined;
  const values = valuesOf(provider, said.read(claims.groups));
  if (!groups) return values;
  return [...new Set(values.flatMap((value) => (Object.hasOwn(groups, value) ? groups[value]! : [])))];
}

/** One value or a list of them, `true` and numbers as they are written; what is no value means nothing to anybody here. */
function valuesOf(provider: SsoProvider, value: unknown): string[] {
  const list = Array.isArray(value) ? value : [value];
  if (list.length > MAX_VALUES) throw refusedAnswer(provider, "too_many_values");
  return [...new Set(list.flatMap((one) => textOf(isWritten(one) ? String(one) : one) ?? []))];
}

function isWritten(value: unknown): boolean {
  return typeof value === "boolean" || typeof value === "number";
}

/** Entra names the groups elsewhere when there are more than a token holds (`_claim_names`, OIDC Core §5.6.2; `hasgroups`). */
export function isWithheld(claims: Readonly<Record<string, unknown>>, name: string): boolean {
  const elsewhere = claims._claim_names;
  if (typeof elsewhere === "object" && elsewhere !== null && Object.hasOwn(elsewhere, name)) return true;
  return name === "groups" && (claims.hasgroups === true || claims.hasgroups === "true");
}
