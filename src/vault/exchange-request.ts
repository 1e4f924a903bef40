import * as oauth from "oauth4webapi";
import { OutboundError, oauthOptions, type Vouched, type World } from "../base/index.ts";
import type { OAuthSettings } from "../upstreams/index.ts";
import type { ProviderAuthorization } from "./parts.ts";
import { readTokenAnswer, type TokenAnswer } from "./token-answer.ts";

const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_TYPE = "urn:ietf:params:oauth:token-type:";

/**
 * Exchanges a caller's token for one that is for the upstream: RFC 8693 §2.1, or on the caller's behalf with the grant of
 * RFC 7523 §2.1. Never throws for what an authorization server does.
 */
export async function exchangeCaller(
  world: World,
  authorization: ProviderAuthorization,
  settings: OAuthSettings,
  { token }: Pick<Vouched, "token">,
): Promise<TokenAnswer> {
  const { server, client, clientAuth, scopes = [], resource, tls } = authorization;
  const onBehalf = settings.grantType === "jwt_bearer";
  const parameters = new URLSearchParams(
    onBehalf
      ? { assertion: token.reveal(), requested_token_use: "on_behalf_of" }
      : { subject_token: token.reveal(), subject_token_type: typeOf(settings.subjectTokenType) },
  );
  if (!onBehalf) parameters.set("requested_token_type", typeOf(settings.requestedTokenType));
  if (settings.audience !== undefined) parameters.set("audience", settings.audience);
  if (resource !== undefined) parameters.set("resource", resource);
  if (scopes.length > 0) parameters.set("scope", scopes.join(" "));
  try {
    const response = await oauth.genericTokenEndpointRequest(
      server,
      client,
      clientAuth,
      onBehalf ? JWT_BEARER : TOKEN_EXCHANGE,
      parameters,
      oauthOptions(world, server.token_endpoint!, tls),
    );
    return await readTokenAnswer(server, client, response, world.now().getTime(), "client");
  } catch (error) {
    if (error instanceof OutboundError) return { outcome: "unavailable", reason: error.reason };
    throw error;
  }
}

function typeOf(name: string = "access_token"): string {
  return TOKEN_TYPE + name;
}
