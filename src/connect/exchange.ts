import * as oauth from "oauth4webapi";
import { type Hidden, OutboundError, oauthOptions, ProofKey, proving } from "../base/index.ts";
import type { UpstreamAuthorization } from "../upstreams/index.ts";
import { readTokenAnswer, type TokenAnswer } from "../vault/index.ts";
import type { ConnectParts } from "./parts.ts";
import type { TripData } from "./round-trip.ts";

/**
 * Redeems a code at the token endpoint that was recorded at the start; undefined, and nothing sent, when what we know of
 * the provider is not what it was then (mix-up; RFC 9700 §4.4).
 */
export async function redeem(
  parts: Pick<ConnectParts, "world">,
  authorization: UpstreamAuthorization | undefined,
  trip: TripData,
  callback: { parameters: URLSearchParams; verifier: string; proofKey?: Hidden },
): Promise<TokenAnswer | undefined> {
  if (!authorization || !isTheSame(authorization, trip)) return undefined;
  const { server, client, clientAuth, resource, facts, tls } = authorization;
  const { parameters, verifier, proofKey } = callback;
  const key = proofKey && ProofKey.open(proofKey);
  const checked = oauth.validateAuthResponse(server, client, parameters, parameters.get("state")!);
  const options = {
    ...oauthOptions(parts.world, trip.token_endpoint, tls, key),
    // RFC 8707 §2.2
    additionalParameters: resource === undefined ? undefined : { resource },
  };
  const uri = trip.redirect_uri;
  parts.world.reach("callback.3.code_sent");
  try {
    const response = await proving(key, () =>
      oauth.authorizationCodeGrantRequest(server, client, clientAuth, checked, uri, verifier, options),
    );
    const now = parts.world.now().getTime();
    return await readTokenAnswer(server, client, response, now, "code", facts?.token, key);
  } catch (error) {
    if (error instanceof OutboundError) return { outcome: "unavailable", reason: error.reason };
    throw error;
  }
}

/** Whether what is known of the provider is what it was when the person left for it. */
export function isTheSame(authorization: UpstreamAuthorization, trip: TripData): boolean {
  return (
    authorization.configId === trip.config_id &&
    authorization.issuer === trip.issuer &&
    authorization.server.token_endpoint === trip.token_endpoint &&
    authorization.redirectUri === trip.redirect_uri
  );
}
