import { Problem } from "../base/index.ts";
import type { EndedSession } from "../identity/index.ts";
import type { OidcProvider, SsoProvider } from "./config.ts";
import { CLOCK_SKEW_MS } from "./oidc.ts";
import { addressOf, type SsoParts, vouching } from "./parts.ts";

/** Beyond it addresses fail on the way. */
const MAX_HINT = 4_000;
const LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout";
/** OIDC Back-Channel Logout 1.0 §2.4: made for now. */
const MAX_AGE_MS = 10 * 60_000;

/**
 * Where the browser goes on to when its session here has ended, so that the provider's ends too (OIDC RP-Initiated Logout §2);
 * undefined where it was not signed in through one, or the provider has no such place. A provider that is away keeps nobody in.
 */
export async function signOutAddress(
  parts: SsoParts,
  provider: OidcProvider,
  { idToken }: Pick<EndedSession, "idToken">,
): Promise<URL | undefined> {
  const published = await parts.discoveryOf(provider).published().catch(notAway);
  if (published?.end_session_endpoint === undefined) return undefined;
  const url = new URL(published.end_session_endpoint);
  const hint = idToken?.reveal();
  if (hint !== undefined && hint.length <= MAX_HINT) url.searchParams.set("id_token_hint", hint);
  url.searchParams.set("client_id", provider.clientId);
  url.searchParams.set("post_logout_redirect_uri", addressOf(parts, provider, "signed-out"));
  return url;
}

function notAway(error: unknown): undefined {
  if (!(error instanceof Problem)) throw error;
}

/**
 * What a provider says itself, without a browser: the sessions it opened here end (OIDC Back-Channel Logout 1.0 §2.6, §2.7).
 * Throws 400 `logout_token_refused`, 503.
 */
export async function backChannelSignOut(
  parts: SsoParts,
  provider: OidcProvider,
  token: string,
  requestId: string,
): Promise<void> {
  const said = await readLogoutToken(parts, provider, token);
  await parts.database.transaction(async (tx) => {
    if (!(await parts.spent.spend(tx, provider.issuer, said.id, said.expiresAt)))
      throw refused(provider, "replayed");
    const ended = await parts.sessions.endOfProvider(tx, { provider: vouching(provider), ...said });
    for (const userId of ended)
      await parts.record(tx, {
        event: "session.ended",
        actor: "system",
        owner: { mode: "user", id: userId },
        requestId,
        detail: { provider: vouching(provider), by: "backchannel_logout" },
      });
  });
}

interface LogoutToken {
  id: string;
  expiresAt: number;
  subject?: string;
  session?: string;
}

async function readLogoutToken(
  { discoveryOf, verifier }: SsoParts,
  provider: OidcProvider,
  token: string,
): Promise<LogoutToken> {
  const server = await discoveryOf(provider).published();
  const verdict = await verifier.verify(
    {
      issuer: provider.issuer,
      keys: { jwksUrl: server.jwks_uri },
      algorithms: server.id_token_signing_alg_values_supported,
      clockSkewMs: CLOCK_SKEW_MS,
    },
    token,
    // ASVS 10.5.5: an ID token, which has another `typ`, is never one of these.
    {
      audience: provider.clientId,
      type: "logout+jwt",
      maxAgeMs: MAX_AGE_MS,
      require: ["iat", "jti", "events"],
    },
  );
  if (!verdict.ok) throw refused(provider, verdict.reason);
  const { jti, exp, sub, sid, events, nonce } = verdict.claims;
  // §2.4: the event makes it what it is, and a nonce would make it an ID token.
  if (
    typeof events !== "object" ||
    events === null ||
    !isObject((events as Record<string, unknown>)[LOGOUT_EVENT])
  )
    throw refused(provider, "event");
  if (nonce !== undefined) throw refused(provider, "nonce");
  const [subject, session] = [textOf(sub), textOf(sid)];
  if (typeof jti !== "string" || (subject === undefined && session === undefined))
    throw refused(provider, "names_nobody");
  return { id: jti, expiresAt: Number(exp) * 1000 + CLOCK_SKEW_MS, subject, session };
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

function refused({ id }: SsoProvider, reason: string): Problem {
  return new Problem(
    "invalid",
    "logout_token_refused",
    "This logout token does not count. Send one of this provider that is signed, current, for this client and not used before.",
    { log: { provider: id, reason } },
  );
}
