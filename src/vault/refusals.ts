import type { ProviderAuthorization } from "./parts.ts";
import type { Secret } from "./secret.ts";

/**
 * Whose turn it is after a token endpoint's no. `consent`: the person's. `registration`: ours, the provider has forgotten a
 * client that we registered. `administrator`: the client that one of them registered is refused.
 */
export type Turn = "consent" | "registration" | "administrator";

/** RFC 6749 §5.2: about the client, not about what the person allowed. */
const ABOUT_CLIENT = new Set(["invalid_client", "unauthorized_client"]);

/** `error`: the word of the refusal. A token of the gateway's own has no person, and its upstream says what is wrong. */
export function turnAfter(
  error: string,
  { clientSource }: Pick<ProviderAuthorization, "clientSource">,
  { grant }: Pick<Extract<Secret, { kind: "oauth" }>, "grant">,
): Turn {
  if (grant || !ABOUT_CLIENT.has(error)) return "consent";
  return clientSource === "given" ? "administrator" : "registration";
}

/** RFC 6749 §5.2, RFC 8707 §2. Another word of the provider's does not reach the wire. */
const REFUSALS = new Set([
  "invalid_grant",
  "invalid_client",
  "unauthorized_client",
  "invalid_request",
  "invalid_scope",
  "unsupported_grant_type",
  "invalid_target",
]);

/** The `status_reason` of a credential that a refusal ended. */
export function reasonOf(
  error: string,
  { grant }: Pick<Extract<Secret, { kind: "oauth" }>, "grant">,
): string {
  return `${grant ? "token" : "refresh"}_${REFUSALS.has(error) ? error : "refused"}`;
}
