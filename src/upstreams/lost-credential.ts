import { type Failure, obtainsOwnToken, type Upstream } from "./upstream.ts";

/** What an administrator mends, by the word of RFC 6749 §5.2 or RFC 8707 §2 that a token was refused with. */
const refusals: Readonly<Record<string, string>> = {
  invalid_client: "Check client_id and client_secret or private_key in oauth_config",
  invalid_grant: "Give a new assertion in oauth_config; the one there has ended or is for somebody else",
  unauthorized_client: "Let this client use its grant_type there",
  unsupported_grant_type: "It does not know this grant_type: check token_url in oauth_config",
  invalid_scope: "Check scopes in oauth_config",
  invalid_target: "Check resource in oauth_config",
};

/** Why the shared credential of an upstream serves no more, and what to do. `reason`: a word of the vault's. */
export function lostFailure(upstream: Upstream, reason: string, at: number): Failure {
  const message = obtainsOwnToken(upstream) ? ofClient(reason) : ofAccount(reason);
  return { code: "shared_credential_lost", message, at };
}

function ofClient(reason: string): string {
  const again = "then POST to …/reauthorize.";
  if (reason === "revoked") return "The gateway's token was given up. The next call obtains another.";
  if (reason === "rejected_by_upstream")
    return `The upstream refuses the gateway's token. Check scopes and resource in oauth_config, ${again}`;
  const todo = refusals[reason.replace("token_", "")] ?? "Look at its log";
  return `The authorization server refused the gateway a token. ${todo}, ${again}`;
}

function ofAccount(reason: string): string {
  const again =
    "An administrator must connect it again: POST to …/reauthorize and open the authorize_url it returns.";
  if (reason === "configuration_changed" || reason === "client_reregistered")
    return `The shared account was connected under another configuration. ${again}`;
  if (reason === "issuer_changed")
    return `The server names another sign-in server now, and the gateway registered there. ${again}`;
  if (reason === "revoked") return `The shared account was disconnected. ${again}`;
  return `The shared account's sign-in has ended. ${again}`;
}
