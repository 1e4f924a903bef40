import { type JsonObject, type Log, Problem, parseStrictJson, type Settings } from "../base/index.ts";
import { unverifiedClaims } from "../jwt/index.ts";
import { paths } from "./paths.ts";

/** draft-ietf-oauth-identity-assertion-authz-grant §3.1. */
export const ID_JAG_TYPE = "oauth-id-jag+jwt";
const MAX_SHOWN = 200;

/** A signed statement as it was presented; nothing in it is believed yet. */
export interface Presented {
  assertion: string;
  /** In lower case, without `application/` (RFC 7515 §4.1.9). */
  type?: string;
  claims: JsonObject;
}

/** Undefined: it is no JWT at all. */
export function readAssertion(assertion: string): Presented | undefined {
  const claims = unverifiedClaims(assertion);
  if (claims === undefined) return undefined;
  const typ = headerOf(assertion)?.typ;
  const type = typeof typ === "string" ? typ.toLowerCase().replace(/^application\//, "") : undefined;
  return { assertion, type, claims };
}

function headerOf(assertion: string): JsonObject | undefined {
  try {
    return parseStrictJson(Buffer.from(assertion.split(".")[0]!, "base64url")) as JsonObject;
  } catch {
    return undefined;
  }
}

/** What `aud` calls us: the issuer (RFC 7523 §3), as people write it too. */
export function ownNames({ baseUrl }: Pick<Settings, "baseUrl">): string[] {
  return [baseUrl.origin, `${baseUrl.origin}/`];
}

/** The same for workloads, which may name the token endpoint (SEP-1933, JWT Format). */
export function ownNamesForWorkloads(settings: Pick<Settings, "baseUrl">): string[] {
  return [...ownNames(settings), settings.baseUrl.origin + paths.token];
}

/**
 * A refused assertion: one line for the operator, with why, and one sentence for whoever sent it, without. `fields` come from
 * what was sent, believed or not; they are cut short.
 */
export function refusedAssertion(
  log: Log,
  reason: string,
  presented: Presented | undefined,
  fields: Record<string, unknown> = {},
): Problem {
  const { iss, sub } = presented?.claims ?? {};
  log.info("assertion.refused", { reason, issuer: short(iss), subject: short(sub), ...fields });
  return new Problem(
    "invalid",
    "invalid_grant",
    "This assertion gives no access here. Check its issuer, audience, type and lifetime; the gateway's log says what did not fit.",
    { param: "assertion" },
  );
}

/** A value of a stranger's as it may stand in the log. */
export function short(value: unknown): string | undefined {
  return value === undefined ? undefined : String(value).slice(0, MAX_SHOWN);
}
