import { Problem } from "../base/index.ts";
import { type OAuthSettings, obtainsOwnToken } from "./upstream.ts";

/** What was found belongs to settings that no longer hold. */
export function changedMeanwhile(log?: Record<string, unknown>): Problem {
  const message = "The MCP client was changed meanwhile. Try again.";
  return new Problem("conflict", "mcp_client_changed", message, { log });
}

/** There is nothing to register anew. */
export function clientGiven(): Problem {
  const message =
    "The client_id of oauth_config was registered by hand, so the gateway cannot register it again. Register a new client at the provider and change client_id and client_secret.";
  return new Problem("conflict", "client_given", message, { param: "oauth_config.client_id" });
}

/**
 * MCP "Authorization Server Binding": what one issuer gave us is not used at another, nor is the other taken without an
 * administrator. What they gave for the one before, a client, a key, addresses, they must give anew.
 */
export function refuseMove(
  oauth: OAuthSettings,
  { issuer, mayMove }: { issuer?: string; mayMove?: boolean },
  found: string,
): void {
  if (issuer === undefined || issuer === found) return;
  const { clientId, authorizeUrl, tokenUrl, registrationUrl, revocationUrl } = oauth;
  const isGiven =
    obtainsOwnToken({ oauth }) ||
    [clientId, authorizeUrl, tokenUrl, registrationUrl, revocationUrl].some(Boolean);
  if (!mayMove || isGiven) throw issuerChanged({ from: issuer, to: found }, isGiven);
}

/** `isGiven`: an administrator has to change more than a mind. */
export function issuerChanged(log: { from: string; to: string }, isGiven = false): Problem {
  const message = isGiven
    ? "The service names another sign-in server now. What oauth_config says is for the one before: an administrator must register a client at the new one and change client_id, client_secret and the addresses."
    : "The service names another sign-in server now. An administrator must confirm that: POST to …/reregister of this MCP client.";
  return new Problem("conflict", "issuer_changed", message, { log });
}

/** With or without a slash at the end it is the same one; which of the two is written down is discovery's business. */
export function sameIssuer(one: string, other: string): boolean {
  const plain = (issuer: string) => (URL.parse(issuer)?.href ?? issuer).replace(/\/$/, "");
  return plain(one) === plain(other);
}
