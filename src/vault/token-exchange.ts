import * as oauth from "oauth4webapi";
import { Hidden, JsonFault, oauthOptions, parseStrictJson, type World } from "../base/index.ts";
import { clientAuthentication, type IdentityProvider } from "../upstreams/index.ts";
import type { ProviderAuthorization } from "./parts.ts";
import { refusal, type TokenAnswer } from "./token-answer.ts";

const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const TOKEN_TYPE = "urn:ietf:params:oauth:token-type:";
const ID_JAG = `${TOKEN_TYPE}id-jag`;
const MAX_LENGTH = 16 * 1024;
/** RFC 7515 §7.1. */
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/**
 * Exchanges an identity assertion at its identity provider for one that the upstream's authorization server takes: an ID-JAG
 * (MCP "Enterprise-Managed Authorization" §4, RFC 8693 §2.1). Throws `OutboundError`.
 */
export async function exchangeAssertion(
  world: World,
  { issuer, resource, scopes = [] }: ProviderAuthorization,
  { tokenUrl, clientId, clientSecret, subjectTokenType }: IdentityProvider,
  subject: Hidden,
): Promise<{ outcome: "assertion"; assertion: Hidden } | Exclude<TokenAnswer, { outcome: "token" }>> {
  const parameters = new URLSearchParams({
    requested_token_type: ID_JAG,
    audience: issuer,
    subject_token: subject.reveal(),
    subject_token_type: TOKEN_TYPE + subjectTokenType,
  });
  if (resource !== undefined) parameters.set("resource", resource);
  if (scopes.length > 0) parameters.set("scope", scopes.join(" "));
  const method = clientSecret ? "client_secret_basic" : "none";
  const response = await oauth.genericTokenEndpointRequest(
    { issuer: new URL(tokenUrl).origin, token_endpoint: tokenUrl },
    { client_id: clientId },
    clientAuthentication(method, { clientSecret }),
    TOKEN_EXCHANGE,
    parameters,
    oauthOptions(world, tokenUrl),
  );
  const answer = await readObject(response);
  if (response.status !== 200 || answer?.error !== undefined)
    return refusal(response, answer?.error, world.now().getTime());
  const { access_token: issued, issued_token_type } = answer ?? {};
  // RFC 8693 §2.2.1: what is in `access_token` is of the type that is named, here no access token.
  const isGrant = issued_token_type === ID_JAG && typeof issued === "string" && issued.length <= MAX_LENGTH;
  if (!isGrant || !JWT.test(issued)) return { outcome: "unavailable", reason: "malformed_token" };
  return { outcome: "assertion", assertion: new Hidden(issued) };
}

async function readObject(response: Response): Promise<Record<string, unknown> | undefined> {
  try {
    const value = parseStrictJson(new Uint8Array(await response.arrayBuffer()));
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch (error) {
    if (error instanceof JsonFault) return undefined;
    throw error;
  }
}
