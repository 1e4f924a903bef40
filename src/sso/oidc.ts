import * as oauth from "oauth4webapi";
import {
  Hidden,
  newSecret,
  OutboundError,
  oauthOptions,
  privateKeyJwt,
  sha256,
  systemTime,
  type World,
} from "../base/index.ts";
import type { Flow } from "../db/index.ts";
import { claimAt } from "../jwt/index.ts";
import type { Arrival } from "./arrive.ts";
import { assertionOf, isWithheld, type Said } from "./claims.ts";
import type { OidcProvider } from "./config.ts";
import type { Published } from "./discovery.ts";
import { addressOf, type SsoParts } from "./parts.ts";
import { declined, failed, refusedAnswer, strayAnswer, unavailable } from "./refusals.ts";
import { type Departure, type Errand, startTrip, type TripData } from "./trip.ts";

interface OidcTrip extends TripData {
  issuer: string;
  token_endpoint: string;
  redirect_uri: string;
  /** RFC 9207 §2.3: the provider promised `iss` in every answer. */
  iss_promised: boolean;
}

/** How far a provider's clock may be from ours. */
export const CLOCK_SKEW_MS = 60_000;
/** Some providers date their tokens five minutes back, for relying parties whose clocks are slow. */
const BACKDATED_MS = 10 * 60_000;
/** An ID token that lists many groups. */
const MAX_ID_TOKEN = 256 * 1024;

/** Leaves for the provider with `state`, `nonce` and PKCE (OIDC Core §3.1.2.1, RFC 7636 §4.3). Throws 503 `sso_unavailable`. */
export async function departOidc(
  parts: SsoParts,
  provider: OidcProvider,
  errand: Errand,
): Promise<Departure> {
  const server = await parts.discoveryOf(provider).published();
  const [state, nonce, verifier] = [0, 1, 2].map(() => newSecret(parts.world)) as [string, string, string];
  const data: OidcTrip = {
    provider: provider.id,
    errand,
    issuer: server.issuer,
    token_endpoint: server.token_endpoint,
    redirect_uri: addressOf(parts, provider, "callback"),
    iss_promised: server.authorization_response_iss_parameter_supported === true,
  };
  const cookie = await startTrip(parts, state, { data, secret: { nonce, verifier } });
  const url = new URL(server.authorization_endpoint);
  for (const [name, value] of Object.entries({
    response_type: "code",
    client_id: provider.clientId,
    redirect_uri: data.redirect_uri,
    scope: provider.scopes.join(" "),
    state,
    nonce,
    code_challenge: sha256(verifier),
    code_challenge_method: "S256",
    ...(errand.purpose === "sign_in" && errand.again && { prompt: promptAgain(provider) }),
  }))
    url.searchParams.set(name, value);
  return { url: url.href, cookie };
}

/** OpenID Connect Core §15.1: `login` is there everywhere, but at Google, which has the account chooser instead. */
function promptAgain({ issuer }: OidcProvider): string {
  return issuer === "https://accounts.google.com" ? "select_account" : "login";
}

/**
 * What the provider's answer proves. The code goes to the token endpoint that was recorded at the start, and nowhere else.
 * Throws 400, 403, 502, 503.
 */
export async function proveOidc(
  parts: SsoParts,
  provider: OidcProvider,
  trip: Flow<OidcTrip>,
  answer: URLSearchParams,
): Promise<Arrival> {
  const { data } = trip;
  checkAnswer(provider, data, answer);
  const discovery = parts.discoveryOf(provider);
  const server = await discovery.published();
  if (server.token_endpoint !== data.token_endpoint) throw failed(provider, { reason: "metadata_changed" });
  try {
    const { idToken, claims, accessToken } = await redeem(parts, provider, server, trip, answer);
    checkTime(parts, provider, trip, claims);
    const more = await askMore(parts.world, provider, server, claims, accessToken);
    return {
      provider,
      errand: data.errand,
      assertion: assertionOf(provider, saidOf(claims, more)),
      providerSession: typeof claims.sid === "string" ? claims.sid : undefined,
      idToken: new Hidden(idToken),
      saidAt: trip.createdAt,
    };
  } catch (error) {
    discovery.doubt();
    throw inOurWords(provider, error);
  }
}

/** RFC 9207 §2.4, before `code` or `error` count for anything: simple string comparison with the recorded issuer. */
function checkAnswer(provider: OidcProvider, trip: OidcTrip, answer: URLSearchParams): void {
  const iss = answer.get("iss");
  if (iss === null ? trip.iss_promised : iss !== trip.issuer) throw refusedAnswer(provider, "iss_differs");
  const error = answer.get("error");
  if (error === "access_denied") throw declined(provider);
  if (error !== null) throw failed(provider, { reason: knownError(error) });
  if (!answer.get("code")) throw strayAnswer();
}

async function redeem(
  { world, verifier }: SsoParts,
  provider: OidcProvider,
  server: Published,
  trip: Flow<OidcTrip>,
  answer: URLSearchParams,
): Promise<{ idToken: string; claims: Record<string, unknown>; accessToken: string }> {
  const client = clientOf(world, provider);
  const secret = trip.secret();
  const checked = oauth.validateAuthResponse(server, client, answer, answer.get("state")!);
  const response = await oauth.authorizationCodeGrantRequest(
    server,
    client,
    authenticationOf(provider, server),
    checked,
    trip.data.redirect_uri,
    secret.verifier!,
    oauthOptions(world, server.token_endpoint),
  );
  const tokens = await oauth.processAuthorizationCodeResponse(server, client, response, {
    expectedNonce: secret.nonce!,
    requireIdToken: true,
  });
  const idToken = tokens.id_token!;
  const verdict = await verifier.verify(
    {
      issuer: provider.issuer,
      keys: { jwksUrl: server.jwks_uri },
      algorithms: server.id_token_signing_alg_values_supported,
      clockSkewMs: CLOCK_SKEW_MS,
    },
    idToken,
    { audience: provider.clientId, require: ["sub", "iat", "nonce"], maxLength: MAX_ID_TOKEN },
  );
  if (!verdict.ok) throw refusedAnswer(provider, verdict.reason);
  const { claims } = verdict;
  // OIDC Core §3.1.3.7 point 5: an authorized party is us, also where we are the only audience.
  if (claims.azp !== undefined && claims.azp !== provider.clientId) throw refusedAnswer(provider, "azp");
  return { idToken, claims, accessToken: tokens.access_token };
}

/** OIDC Core §3.1.3.7 point 10: made for this trip, not long before it and not in the future. */
function checkTime(
  { world }: SsoParts,
  provider: OidcProvider,
  trip: Flow<OidcTrip>,
  { iat }: Record<string, unknown>,
): void {
  const made = Number(iat) * 1000;
  const [earliest, latest] = [trip.createdAt - BACKDATED_MS, world.now().getTime() + CLOCK_SKEW_MS];
  if (!(made >= earliest && made <= latest)) throw refusedAnswer(provider, "iat");
}

/** OIDC Core §5.3, only for what the ID token does not say; whoever it is about must be the same (§5.3.2). */
async function askMore(
  world: World,
  provider: OidcProvider,
  server: Published,
  claims: Record<string, unknown>,
  accessToken: string,
): Promise<Record<string, unknown>> {
  const { email, name, groups } = provider.mapping.claims;
  const wanted = [email, name, ...(groups === undefined ? [] : [groups])];
  const isSaid = (one: string) => claimAt(claims, one) !== undefined || isWithheld(claims, one);
  if (server.userinfo_endpoint === undefined || wanted.every(isSaid)) return {};
  const client = clientOf(world, provider);
  const options = oauthOptions(world, server.userinfo_endpoint);
  const response = await oauth.userInfoRequest(server, client, accessToken, options);
  return oauth.processUserInfoResponse(server, client, String(claims.sub), response);
}

function saidOf(claims: Record<string, unknown>, more: Record<string, unknown>): Said {
  return {
    subject: typeof claims.sub === "string" ? claims.sub : "",
    read: (name) => claimAt(claims, name) ?? claimAt(more, name),
    signed: (name) => claimAt(claims, name),
    withheld: (name) => isWithheld(claims, name) || isWithheld(more, name),
  };
}

/** The library's clock is the system's: it is told how far ours is from that. */
function clientOf(world: World, { clientId }: OidcProvider): oauth.Client {
  return {
    client_id: clientId,
    [oauth.clockSkew]: Math.round((world.now().getTime() - systemTime()) / 1000),
    [oauth.clockTolerance]: CLOCK_SKEW_MS / 1000,
  };
}

function authenticationOf(provider: OidcProvider, server: Published): oauth.ClientAuth {
  const { clientSecret, privateKey, privateKeyId } = provider;
  if (privateKey) return privateKeyJwt(privateKey, privateKeyId);
  if (!clientSecret) return oauth.None();
  const methods = server.token_endpoint_auth_methods_supported;
  const post = methods?.includes("client_secret_post") && !methods.includes("client_secret_basic");
  return (post ? oauth.ClientSecretPost : oauth.ClientSecretBasic)(clientSecret.reveal());
}

/** Words of RFC 6749 §4.1.2.1 and §5.2 and OIDC Core §3.1.2.6 that tell an operator what to mend; others are theirs. */
function knownError(word: string): string {
  return KNOWN_ERRORS.has(word) ? word : "error_answer";
}

const KNOWN_ERRORS = new Set([
  "invalid_request",
  "invalid_client",
  "invalid_grant",
  "unauthorized_client",
  "unsupported_grant_type",
  "unsupported_response_type",
  "invalid_scope",
  "server_error",
  "temporarily_unavailable",
  "interaction_required",
  "login_required",
  "consent_required",
  "account_selection_required",
]);

/** The library's messages and the provider's words stay out of pages and logs; which check failed is for the operator. */
function inOurWords(provider: OidcProvider, error: unknown): unknown {
  if (error instanceof OutboundError) return unavailable(provider, { reason: error.reason }, error);
  if (error instanceof oauth.ResponseBodyError)
    return failed(provider, { reason: knownError(error.error), status: error.status });
  if (error instanceof oauth.WWWAuthenticateChallengeError)
    return failed(provider, { reason: "error_answer", status: error.status });
  if (error instanceof oauth.OperationProcessingError || error instanceof oauth.UnsupportedOperationError)
    return refusedAnswer(provider, reasonOf(error));
  return error;
}

function reasonOf(error: Error & { code?: string; cause?: unknown }): string {
  const cause = error.cause as { claim?: unknown; attribute?: unknown } | undefined;
  const at = cause?.claim ?? cause?.attribute;
  const code = (error.code ?? "oauth_unusable").toLowerCase().replace(/^oauth_/, "");
  return typeof at === "string" ? `${code}_${at}` : code;
}
