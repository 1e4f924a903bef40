import * as oauth from "oauth4webapi";
import { OutboundError, oauthOptions, type World } from "../base/index.ts";
import type { ProviderAuthorization } from "./parts.ts";
import { readTokenAnswer, type TokenAnswer } from "./token-answer.ts";

/** Asks for a token of the gateway's own (RFC 6749 §4.4.2). Never throws for what the authorization server does. */
export async function askForOwn(world: World, authorization: ProviderAuthorization): Promise<TokenAnswer> {
  const { server, client, clientAuth, resource, scopes = [], facts, tls } = authorization;
  const parameters = new URLSearchParams();
  if (scopes.length > 0)
    parameters.set(facts?.scope?.parameter ?? "scope", scopes.join(facts?.scope?.separator ?? " "));
  // RFC 8707 §2.2: the token is for this upstream only.
  if (resource !== undefined) parameters.set("resource", resource);
  try {
    const options = oauthOptions(world, server.token_endpoint!, tls);
    const response = await oauth.clientCredentialsGrantRequest(
      server,
      client,
      clientAuth,
      parameters,
      options,
    );
    return await readTokenAnswer(server, client, response, world.now().getTime(), "client", facts?.token);
  } catch (error) {
    if (error instanceof OutboundError) return { outcome: "unavailable", reason: error.reason };
    throw error;
  }
}
