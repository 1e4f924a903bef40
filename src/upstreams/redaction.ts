import { Hidden, Problem } from "../base/index.ts";
import type { Upstream } from "./upstream.ts";

/** What a stored secret reads as. Sent back, it keeps the stored value. */
export const redacted = "********";

/** Any run of four: a value that somebody edited inside the mask is neither the old secret nor a new one. */
const maskLike = /\*{4}/;

/** Static headers with redacted values taken from `previous`. A redacted value for a name not stored is refused. */
export function resolveHeaders(headers: Record<string, string>, previous?: Upstream): Record<string, Hidden> {
  const resolved: Record<string, Hidden> = {};
  for (const [name, value] of Object.entries(headers)) {
    const stored = previous?.headers[name];
    // Attack case AD-10: the mask keeps a value under its own name only.
    resolved[name] = value === redacted && stored ? stored : fresh(value, `headers.${name}`);
  }
  return resolved;
}

/** A client secret as sent: the mask keeps the stored one, nothing or the empty string is none. */
export function keepSecret(value: string | null | undefined, isStored: boolean): Hidden | "keep" | null {
  if (value === null || value === undefined || value === "") return null;
  if (value === redacted && isStored) return "keep";
  return fresh(value, "oauth_config.client_secret");
}

function fresh(value: string, param: string): Hidden {
  if (maskLike.test(value)) {
    throw new Problem("invalid", "secret_required", "This is a redacted value. Enter the secret itself.", {
      param,
    });
  }
  return new Hidden(value);
}

/**
 * Attack case AD-10: a stored secret must not be re-aimed. When an address or the resource of the authorization server
 * changes, a stored client secret has to be entered again.
 */
export function refuseReaimedSecret(
  before: Upstream,
  after: { oauth?: Upstream["oauth"]; clientSecret: Hidden | "keep" | null },
): void {
  if (after.clientSecret !== "keep") return;
  const [was, is] = [before.oauth, after.oauth];
  const fields = [
    "authorizeUrl",
    "tokenUrl",
    "registrationUrl",
    "revocationUrl",
    "resource",
    "profile",
  ] as const;
  if (fields.every((field) => was?.[field] === is?.[field])) return;
  throw new Problem(
    "invalid",
    "secret_required",
    "An address in oauth_config or its resource changes: enter client_secret again.",
    { param: "oauth_config.client_secret" },
  );
}
