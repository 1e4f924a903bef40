import { decodeJwt, type JWTPayload } from "jose";
import * as oauth from "oauth4webapi";
import {
  Hidden,
  JsonFault,
  type JsonObject,
  type OutboundError,
  type ProofKey,
  parseStrictJson,
} from "../base/index.ts";
import { type PlainTokenAnswer, plainTokenAnswer, type TokenRules } from "../upstreams/index.ts";

/** A clean answer of a token endpoint. `expiresAt` in milliseconds since 1970; absent when the provider told none. */
export interface Token {
  accessToken: Hidden;
  refreshToken?: Hidden;
  expiresAt?: number;
  scopes?: string[];
  /** The key that the tokens are bound to (RFC 9449); absent: they are bearer tokens. */
  proofKey?: Hidden;
  /** The account, by the provider's own id and by what people call it there; absent when the provider told none. */
  subject?: string;
  subjectName?: string;
}

/**
 * `refused`: the provider said no in OAuth words (`error` is one of those, never free text of theirs).
 * `unavailable`: not an answer at all, or one that may be different later. Nothing of it reaches a caller.
 */
export type TokenAnswer =
  | { outcome: "token"; token: Token }
  | { outcome: "refused"; error: string }
  | {
      outcome: "unavailable";
      reason: string;
      retryAfterMs?: number;
      /** The request may have had its effect all the same: a rotated token may be among what did not reach us. */
      isLost?: boolean;
    };

const MAX_TOKEN_LENGTH = 16 * 1024;
const LONGEST_LIFE_S = 365 * 24 * 60 * 60;
const LONGEST_RETRY_MS = 10 * 60_000;
const TRANSIENT_ERRORS = new Set([
  "temporarily_unavailable",
  "server_error",
  "slow_down",
  // Words of providers for the same.
  "service_unavailable",
  "internal_error",
  "internal_server_error",
  "fatal_error",
  "request_timeout",
  "ratelimited",
  "rate_limited",
  "rate_limit_exceeded",
  "too_many_requests",
  // RFC 9449 §5, §8: about the proof, often about a clock; the grant is as good as before.
  "invalid_dpop_proof",
  "use_dpop_nonce",
]);
// RFC 6750 §2.1 and RFC 6749 appendix A.12: visible ASCII; anything else could break a header.
const VISIBLE_ASCII = /^[\x21-\x7e]+$/;

/**
 * Reads a token endpoint's answer to a code or a refresh (RFC 6749 §5). Providers err: the answer is checked and cleaned
 * before it is believed, and a poisoned one changes nothing (attack case UP-19). `rules`: the provider's own form of it.
 * `key`: proved in the request, so that a token may be bound to it.
 */
export async function readTokenAnswer(
  server: oauth.AuthorizationServer,
  client: oauth.Client,
  response: Response,
  now: number,
  grant: "code" | "refresh" | "client",
  rules?: TokenRules,
  key?: ProofKey,
): Promise<TokenAnswer> {
  const given = await readObject(response);
  const { body, account }: Partial<PlainTokenAnswer> = given ? plainTokenAnswer(rules, given) : {};
  const error = body?.error;
  if (response.status !== 200 || error !== undefined) return refusal(response, error, now);
  if (!body) return { outcome: "unavailable", reason: "not_json", isLost: true };
  const answer = cleaned(body, key !== undefined);
  if (!answer) return { outcome: "unavailable", reason: "malformed_token", isLost: true };
  const again = new Response(JSON.stringify(answer), { headers: { "content-type": "application/json" } });
  try {
    // RFC 6749 §4.4.3: with our own credentials the grant can always be used again.
    if (grant === "client") delete answer.refresh_token;
    if (grant === "client") await oauth.processClientCredentialsResponse(server, client, again);
    else if (grant === "refresh") await oauth.processRefreshTokenResponse(server, client, again);
    else await oauth.processAuthorizationCodeResponse(server, client, again);
  } catch {
    return { outcome: "unavailable", reason: "malformed_token", isLost: true };
  }
  const claims = claimsOf(body.id_token, server, client, now);
  return {
    outcome: "token",
    token: {
      ...tokenOf(answer, now),
      ...(answer.token_type === "dpop" ? { proofKey: key?.secret } : {}),
      subject: subjectOf(claims) ?? account,
      subjectName: nameOf(claims) ?? nameOf(body),
    },
  };
}

/** `Retry-After` (RFC 9110 §10.2.3) in milliseconds, kept within ten minutes. */
export function retryAfterMs(value: string | null, now: number): number | undefined {
  if (value === null) return undefined;
  const ms = /^\d+$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isFinite(ms) && ms > 0 ? Math.min(ms, LONGEST_RETRY_MS) : undefined;
}

/** What a token endpoint's no comes to. */
export function refusal(
  response: Response,
  error: unknown,
  now: number,
): Exclude<TokenAnswer, { outcome: "token" }> {
  const { status } = response;
  const later = status >= 500 || status === 429 || status === 408;
  // RFC 6749 §5.2; some providers send it with 200. The word is theirs, so only its plain form is kept.
  if (typeof error === "string" && /^[a-z_]{1,64}$/.test(error) && !later && !TRANSIENT_ERRORS.has(error)) {
    return { outcome: "refused", error };
  }
  return {
    outcome: "unavailable",
    reason: `status_${status}`,
    retryAfterMs: retryAfterMs(response.headers.get("retry-after"), now),
    // 503 is said before anything is done (RFC 9110 §15.6.4); other failures may come after it, or from somebody between.
    isLost: status >= 500 && status !== 503 && error === undefined,
  };
}

/** The codes of connections that did not come about: nothing was sent on them. */
const UNSENT = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** No answer came; whether the request arrived is known only where it was never sent. */
export function unanswered({
  reason,
  code = "",
}: OutboundError): Extract<TokenAnswer, { outcome: "unavailable" }> {
  const isUnsent = reason === "refused" || reason === "unresolvable" || reason === "tls" || UNSENT.has(code);
  return { outcome: "unavailable", reason, isLost: !isUnsent };
}

async function readObject(response: Response): Promise<JsonObject | undefined> {
  try {
    const value = parseStrictJson(new Uint8Array(await response.arrayBuffer()));
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as JsonObject)
      : undefined;
  } catch (error) {
    if (error instanceof JsonFault) return undefined;
    throw error;
  }
}

interface CleanAnswer {
  access_token: string;
  token_type: string;
  expires_in?: number;
  refresh_token?: string;
  scope?: string;
}

/** Only what we use, in the types the specification gives it. The ID token is read apart: a bad one costs only the subject. */
function cleaned(body: JsonObject, isProven: boolean): CleanAnswer | undefined {
  const { access_token, refresh_token, scope } = body;
  const token_type = typeof body.token_type === "string" ? body.token_type.toLowerCase() : "";
  // RFC 9449 §5: a token of ours is bound only to a key that we proved; a server may also give a bearer token for a proof.
  const isKnown = token_type === "bearer" || (isProven && token_type === "dpop");
  if (!isToken(access_token) || !isKnown) return undefined;
  const answer: CleanAnswer = { access_token, token_type, expires_in: lifetime(body.expires_in) };
  if (refresh_token !== undefined && refresh_token !== null && refresh_token !== "") {
    if (!isToken(refresh_token)) return undefined;
    answer.refresh_token = refresh_token;
  }
  if (typeof scope === "string" && scope.length <= MAX_TOKEN_LENGTH) answer.scope = scope;
  return answer;
}

function isToken(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_TOKEN_LENGTH && VISIBLE_ASCII.test(value);
}

/** Seconds, at most a year. What is no sensible lifetime counts as none told: the upstream's 401 then decides. */
function lifetime(value: unknown): number | undefined {
  const seconds =
    typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : Number(value ?? Number.NaN);
  if ((typeof value !== "number" && typeof value !== "string") || !(seconds > 0)) return undefined;
  return Math.min(Math.ceil(seconds), LONGEST_LIFE_S);
}

function tokenOf(answer: CleanAnswer, now: number): Token {
  return {
    accessToken: new Hidden(answer.access_token),
    refreshToken: answer.refresh_token === undefined ? undefined : new Hidden(answer.refresh_token),
    expiresAt: answer.expires_in === undefined ? undefined : now + answer.expires_in * 1000,
    scopes: answer.scope?.split(" ").filter((scope) => scope !== ""),
  };
}

/**
 * The claims of an ID token that came straight from the token endpoint, so TLS vouches for it (OpenID Connect Core
 * §3.1.3.7 item 6); issuer, audience and expiry must fit. They label a credential and never sign anybody in.
 */
function claimsOf(
  idToken: unknown,
  server: oauth.AuthorizationServer,
  client: oauth.Client,
  now: number,
): JWTPayload | undefined {
  if (typeof idToken !== "string" || idToken.length > MAX_TOKEN_LENGTH) return undefined;
  try {
    const claims = decodeJwt(idToken);
    const audience = [claims.aud].flat();
    const fits =
      claims.iss === server.issuer && audience.includes(client.client_id) && (claims.exp ?? 0) * 1000 > now;
    return fits ? claims : undefined;
  } catch {
    return undefined;
  }
}

function subjectOf(claims: JWTPayload | undefined): string | undefined {
  const sub: unknown = claims?.sub;
  return typeof sub === "string" && sub !== "" && sub.length <= 255 ? sub : undefined;
}

/** Where providers put what their people know an account by, the clearest first (OpenID Connect Core §5.1). */
const NAMES = ["email", "preferred_username", "login", "username", "user"] as const;
const LONGEST_NAME = 120;

/** Only for people to read. Without control and format characters, which could make one name look like another. */
function nameOf(members: Readonly<Record<string, unknown>> | undefined): string | undefined {
  for (const member of NAMES) {
    const value = members?.[member];
    if (typeof value !== "string") continue;
    const name = value.replaceAll(/\p{C}/gu, "").trim().slice(0, LONGEST_NAME);
    if (name !== "") return name;
  }
  return undefined;
}
