import * as oauth from "oauth4webapi";
import { Hidden, OutboundError, type Owner, oauthOptions, SealFault } from "../base/index.ts";
import type { Delivery, Settled, Tx } from "../db/index.ts";
import {
  type AuthMethod,
  clientAuthentication,
  type RevocationCall,
  tlsOf,
  tlsText,
} from "../upstreams/index.ts";
import type { ProviderAuthorization, VaultParts } from "./parts.ts";
import { callProvider } from "./provider-call.ts";
import type { Secret } from "./secret.ts";

const KIND = "revoke_token";
const REVOKED = "revoked";

/** Tokens that we no longer want to exist, and whose they were. */
export interface Disowned {
  /** Absent: they were never stored. */
  credentialId?: string;
  owner?: Owner;
  upstreamId: string;
  oauthConfigId?: string;
  secret: Secret;
}

/** What the outbox keeps, sealed: all that is needed when upstream, row and owner are gone. */
type Payload = Record<string, string>;

/**
 * Queues RFC 7009 revocation in the transaction that gave the tokens up, with everything it takes; where it is not
 * possible, says so on the audit trail. Header values have no provider to tell.
 */
export async function queueRevocation(parts: VaultParts, tx: Tx, disowned: Disowned): Promise<void> {
  const { secret, upstreamId } = disowned;
  // Empty: a token of our own that was never obtained.
  if (secret.kind !== "oauth" || secret.accessToken.reveal() === "") return;
  const authorization = await recorded(parts, upstreamId, tx);
  const obstacle = obstacleTo(authorization, disowned, secret.issuer);
  if (obstacle !== undefined) return noteNotTold(parts, tx, disowned, obstacle);
  const { server, client, authMethod, clientSecret, privateKey, privateKeyId, configId, issuer, tls } =
    authorization!;
  await parts.outbox.put(
    tx,
    KIND,
    upstreamId,
    given({
      upstream_id: upstreamId,
      credential_id: disowned.credentialId,
      owner_mode: disowned.owner?.mode,
      owner_id: disowned.owner?.id,
      oauth_config_id: configId,
      issuer,
      revocation_endpoint: server.revocation_endpoint,
      revocation_call: JSON.stringify(callOf(authorization!)),
      client_id: client.client_id,
      auth_method: authMethod,
      client_secret: clientSecret?.reveal(),
      private_key: privateKey?.reveal(),
      private_key_id: privateKeyId,
      tls_origin: tls?.origin,
      tls: tls && tlsText(tls),
      access_token: secret.accessToken.reveal(),
      refresh_token: secret.refreshToken?.reveal(),
    }),
  );
}

/** Contract section 2: an account that another row still holds is spared; many providers end the whole grant. */
export async function disownSecret(
  parts: VaultParts,
  tx: Tx,
  disowned: Disowned,
  subject: string | null,
): Promise<void> {
  const holder =
    subject === null
      ? undefined
      : await tx
          .selectFrom("credentials")
          .select("id")
          .where("upstream_id", "=", disowned.upstreamId)
          .where("subject", "=", subject)
          .limit(1)
          .executeTakeFirst();
  if (!holder) await queueRevocation(parts, tx, disowned);
  else await noteNotTold(parts, tx, disowned, "account_still_used");
}

/** The provider is not told, and why: a word of ours. */
export function noteNotTold(
  parts: VaultParts,
  tx: Tx,
  { credentialId, owner, upstreamId }: Omit<Disowned, "secret">,
  outcome: string,
): Promise<void> {
  const detail = { credential_id: credentialId, attempts: 0, outcome };
  return parts.audit.append(tx, {
    event: "credential.provider_not_told",
    actor: "system",
    owner,
    upstreamId,
    detail,
  });
}

/** Delivers queued revocations and writes on the audit trail what came of each. */
export function handleRevocations(parts: VaultParts): void {
  parts.outbox.handle(KIND, {
    deliver: (payload) => deliver(parts, payload),
    settled: (tx, settled) => noteSettled(parts, tx, settled),
  });
}

/** A token is shown to nobody but the server that issued it, so without that server there is nothing to do. */
function obstacleTo(
  authorization: ProviderAuthorization | undefined,
  { oauthConfigId }: Disowned,
  issuer: string | undefined,
): string | undefined {
  if (!authorization) return "not_registered";
  if (oauthConfigId !== undefined && oauthConfigId !== authorization.configId) return "authorization_changed";
  if (issuer !== undefined && issuer !== authorization.issuer) return "authorization_changed";
  const isPossible = authorization.server.revocation_endpoint !== undefined || callOf(authorization);
  return isPossible ? undefined : "no_revocation_endpoint";
}

/** The provider's own way; an endpoint of RFC 7009 goes first, because an administrator may have named it. */
function callOf({ server, facts }: ProviderAuthorization): RevocationCall | undefined {
  const rule = server.revocation_endpoint === undefined ? facts?.revocation : undefined;
  return rule?.kind === "request" ? rule : undefined;
}

/** The refresh token first, because the access token often dies with it (RFC 7009 §2.1). */
async function deliver(parts: VaultParts, payload: Payload): Promise<Delivery> {
  const authorization = await authorizationFor(parts, payload);
  if (payload.revocation_call !== undefined) {
    const tokens = {
      clientId: authorization.client.client_id,
      clientSecret: authorization.clientSecret?.reveal(),
      accessToken: payload.access_token!,
      refreshToken: payload.refresh_token,
    };
    const call = JSON.parse(payload.revocation_call) as RevocationCall;
    return callProvider(parts, call, tokens, authorization.tls);
  }
  const outcomes: string[] = [];
  for (const hint of ["refresh_token", "access_token"] as const) {
    const token = payload[hint];
    if (token === undefined) continue;
    const attempt = await revoke(parts, authorization, token, hint);
    if (!attempt.done) return attempt;
    outcomes.push(attempt.outcome);
  }
  // A provider may refuse the access token alone (`unsupported_token_type`, §2.2.1): it ends with the refresh token.
  return { done: true, outcome: outcomes[0] ?? REVOKED };
}

type RevocationTarget = Pick<
  ProviderAuthorization,
  "server" | "client" | "clientAuth" | "clientSecret" | "tls"
>;

/** As it was when queued; a client secret that was replaced since is used when it is still the same client. */
async function authorizationFor(parts: VaultParts, payload: Payload): Promise<RevocationTarget> {
  const { issuer = "", revocation_endpoint, client_id = "", client_secret, auth_method } = payload;
  const { private_key, private_key_id: privateKeyId } = payload;
  const now = await recorded(parts, payload.upstream_id);
  const same =
    now?.configId === payload.oauth_config_id && now?.issuer === issuer && now.client.client_id === client_id;
  const secret = client_secret === undefined ? undefined : new Hidden(client_secret);
  const privateKey = private_key === undefined ? undefined : new Hidden(private_key);
  const proof = { clientSecret: secret, privateKey, privateKeyId };
  return {
    server: { issuer, revocation_endpoint },
    client: { client_id },
    clientAuth: same ? now.clientAuth : clientAuthentication(auth_method as AuthMethod, proof),
    clientSecret: same ? now.clientSecret : secret,
    tls: now || payload.tls === undefined ? now?.tls : tlsOf(payload.tls_origin!, payload.tls),
  };
}

async function revoke(
  parts: VaultParts,
  { server, client, clientAuth, tls }: RevocationTarget,
  token: string,
  hint: string,
): Promise<Delivery> {
  try {
    const { status } = await oauth.revocationRequest(server, client, clientAuth, token, {
      ...oauthOptions(parts.world, server.revocation_endpoint!, tls),
      additionalParameters: { token_type_hint: hint },
    });
    // RFC 7009 §2.2.1: 503 asks to try again; other refusals will not change.
    if (status >= 500 || status === 429 || status === 408)
      return { done: false, outcome: `status_${status}` };
    return { done: true, outcome: status < 300 ? REVOKED : "refused" };
  } catch (error) {
    if (error instanceof OutboundError) return { done: false, outcome: error.reason };
    throw error;
  }
}

async function noteSettled(parts: VaultParts, tx: Tx, settled: Settled): Promise<void> {
  const { payload, subject, attempts, done, outcome } = settled;
  const told = done && outcome === REVOKED;
  const owner =
    payload?.owner_id === undefined
      ? undefined
      : { mode: payload.owner_mode as Owner["mode"], id: payload.owner_id };
  const detail = {
    credential_id: payload?.credential_id,
    attempts,
    ...(done ? { outcome } : { outcome: "gave_up", last: outcome }),
  };
  const event = told ? "credential.provider_told" : "credential.provider_not_told";
  await parts.audit.append(tx, { event, actor: "system", owner, upstreamId: subject, detail });
}

/** Undefined also when the client's secret does not open: giving a credential up must not fail for that. */
async function recorded(
  parts: VaultParts,
  upstreamId: string | undefined,
  tx?: Tx,
): Promise<ProviderAuthorization | undefined> {
  if (upstreamId === undefined) return undefined;
  try {
    return await parts.oauth.recorded({ id: upstreamId }, tx);
  } catch (error) {
    if (error instanceof SealFault) return undefined;
    throw error;
  }
}

function given(values: Record<string, string | undefined>): Payload {
  const entries = Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return Object.fromEntries(entries);
}
