import * as oauth from "oauth4webapi";
import { OutboundError, oauthOptions } from "../base/index.ts";
import type { Deliver, Tx } from "../db/index.ts";
import type { ProviderAuthorization, VaultParts } from "./parts.ts";
import type { Secret } from "./secret.ts";

const KIND = "revoke_token";

/** Tokens that we no longer want to exist. */
export interface Disowned {
  upstreamId: string;
  oauthConfigId?: string;
  secret: Secret;
}

/** Queues RFC 7009 revocation in the transaction that gave the tokens up; header values have no provider to tell. */
export async function queueRevocation(parts: VaultParts, tx: Tx, disowned: Disowned): Promise<void> {
  const { secret, upstreamId, oauthConfigId } = disowned;
  if (secret.kind !== "oauth") return;
  const payload: Record<string, string> = {
    upstream_id: upstreamId,
    access_token: secret.accessToken.reveal(),
  };
  if (oauthConfigId) payload.oauth_config_id = oauthConfigId;
  if (secret.issuer) payload.issuer = secret.issuer;
  if (secret.refreshToken) payload.refresh_token = secret.refreshToken.reveal();
  await parts.outbox.put(tx, KIND, upstreamId, payload);
}

/** Delivers queued revocations: the refresh token first, because the access token often dies with it (RFC 7009 §2.1). */
export function handleRevocations(parts: VaultParts): void {
  parts.outbox.handle(KIND, revoker(parts));
}

function revoker(parts: VaultParts): Deliver {
  return async (payload) => {
    const authorization = await parts.oauth.recorded({ id: payload.upstream_id! });
    const same =
      authorization &&
      (payload.oauth_config_id === undefined || payload.oauth_config_id === authorization.configId) &&
      (payload.issuer === undefined || payload.issuer === authorization.issuer);
    // A token is shown to nobody but the server that issued it, so without that server there is nothing to do.
    if (!same || authorization.server.revocation_endpoint === undefined) return true;
    for (const hint of ["refresh_token", "access_token"] as const) {
      const token = payload[hint];
      if (token !== undefined && !(await revoke(parts, authorization, token, hint))) return false;
    }
    return true;
  };
}

async function revoke(
  parts: VaultParts,
  { server, client, clientAuth }: ProviderAuthorization,
  token: string,
  hint: string,
): Promise<boolean> {
  try {
    const response = await oauth.revocationRequest(server, client, clientAuth, token, {
      ...oauthOptions(parts.world, server.revocation_endpoint!),
      additionalParameters: { token_type_hint: hint },
    });
    // RFC 7009 §2.2.1: 503 asks to try again; other refusals (unsupported_token_type) will not change.
    return response.status < 500 && response.status !== 429 && response.status !== 408;
  } catch (error) {
    if (error instanceof OutboundError) return false;
    throw error;
  }
}
