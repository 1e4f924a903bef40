import * as oauth from "oauth4webapi";
import { type Hidden, OutboundError, oauthOptions, ProofKey, proving, type World } from "../base/index.ts";
import type { ProviderAuthorization } from "./parts.ts";
import { readTokenAnswer, type TokenAnswer } from "./token-answer.ts";
import { exchangeAssertion } from "./token-exchange.ts";

const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/** Asks for a token of the gateway's own. Never throws for what an authorization server does. */
export async function askForOwn(world: World, authorization: ProviderAuthorization): Promise<TokenAnswer> {
  try {
    const { assertion, idp } = authorization;
    if (!assertion) return await ask(world, authorization, undefined);
    const shown = await assertion();
    if (!shown) return { outcome: "unavailable", reason: "assertion_unreadable" };
    if (!idp) return await ask(world, authorization, shown);
    const exchanged = await exchangeAssertion(world, authorization, idp, shown);
    return exchanged.outcome === "assertion"
      ? await ask(world, authorization, exchanged.assertion)
      : exchanged;
  } catch (error) {
    if (error instanceof OutboundError) return { outcome: "unavailable", reason: error.reason };
    throw error;
  }
}

/** RFC 6749 §4.4.2; with an assertion RFC 7523 §2.1. */
async function ask(
  world: World,
  { server, client, clientAuth, resource, scopes = [], proofs, facts, tls }: ProviderAuthorization,
  assertion: Hidden | undefined,
): Promise<TokenAnswer> {
  const key = proofs ? ProofKey.make() : undefined;
  const options = oauthOptions(world, server.token_endpoint!, tls, key);
  const parameters = new URLSearchParams();
  if (scopes.length > 0)
    parameters.set(facts?.scope?.parameter ?? "scope", scopes.join(facts?.scope?.separator ?? " "));
  // RFC 8707 §2.2: the token is for this upstream only.
  if (resource !== undefined) parameters.set("resource", resource);
  if (assertion) parameters.set("assertion", assertion.reveal());
  const response = await proving(key, () =>
    assertion
      ? oauth.genericTokenEndpointRequest(server, client, clientAuth, JWT_BEARER, parameters, options)
      : oauth.clientCredentialsGrantRequest(server, client, clientAuth, parameters, options),
  );
  const now = world.now().getTime();
  return readTokenAnswer(server, client, response, now, "client", facts?.token, key);
}
