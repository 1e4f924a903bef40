import { createHash, randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { request } from "undici";
import type { Visitor } from "./visitor.ts";

export const redirectUri = "http://127.0.0.1:1/callback";
const RETRIES = 8;
const PAUSE_MS = 250;

export interface Tokens {
  clientId: string;
  access: string;
  refresh: string;
}

/** Why a client has to begin again: the one answer that may be given once was lost on the way. */
export class BeginAgain extends Error {}

/**
 * A whole consent as a client and its person go through it: registration, approval with a virtual key, every Connect,
 * submit, code, tokens. Throws `BeginAgain` when the answer that carried the code, or the tokens, was lost.
 */
export async function consent(origin: string, key: string, visitor: Visitor): Promise<Tokens> {
  const { body: registered } = await post(`${origin}/api/oauth/per-user/register`, {
    client_name: "Replica proof",
    redirect_uris: [redirectUri],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  });
  const clientId = String(registered.client_id);
  const verifier = randomBytes(32).toString("base64url");
  const code = await approve(authorizeUrl(origin, clientId, verifier), key, visitor);
  const answer = await post(
    `${origin}/api/oauth/per-user/token`,
    new URLSearchParams({
      grant_type: "authorization_code",
      code,
      client_id: clientId,
      redirect_uri: redirectUri,
      code_verifier: verifier,
    }),
  );
  // RFC 6749 §4.1.2: a code works once.
  if (answer.isRepeated && answer.status === 400) throw new BeginAgain("the tokens were lost");
  if (answer.status !== 200) throw new Error(`the code was refused: ${JSON.stringify(answer.body)}`);
  return { clientId, access: String(answer.body.access_token), refresh: String(answer.body.refresh_token) };
}

/** New tokens for old; repeated with the old ones when the answer was lost. */
export async function renew(origin: string, { clientId, refresh }: Tokens): Promise<Tokens> {
  const parameters = { grant_type: "refresh_token", refresh_token: refresh, client_id: clientId };
  const { status, body } = await post(`${origin}/api/oauth/per-user/token`, new URLSearchParams(parameters));
  if (status !== 200) throw new Error(`the refresh was refused: ${JSON.stringify(body)}`);
  return { clientId, access: String(body.access_token), refresh: String(body.refresh_token) };
}

async function approve(url: URL, key: string, visitor: Visitor): Promise<string> {
  await visitor.open(url);
  await visitor.send("/consent/vk", { vk: key });
  for (let n = 0; n < 10 && (await visitor.click("Connect")); n++);
  const end = await visitor.send("/consent/submit", {}, redirectUri);
  const code = end.stoppedAt?.searchParams.get("code");
  if (code) return code;
  // The person sees that it is done, and that the client has to ask once more.
  if (end.status === 409 && visitor.reloads > 0) throw new BeginAgain("the redirect was lost");
  throw new Error(`the consent ended at ${end.url.pathname} with ${end.status}: ${end.html.slice(0, 600)}`);
}

function authorizeUrl(origin: string, clientId: string, verifier: string): URL {
  const url = new URL("/api/oauth/per-user/authorize", origin);
  url.search = new URLSearchParams({
    response_type: "code",
    client_id: clientId,
    redirect_uri: redirectUri,
    scope: "mcp",
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
  }).toString();
  return url;
}

/** As a client posts: again after a moment when nobody answered. */
async function post(
  url: string,
  body: object,
): Promise<{ status: number; body: Record<string, unknown>; isRepeated: boolean }> {
  const isForm = body instanceof URLSearchParams;
  for (let attempt = 0; ; attempt++) {
    try {
      const answer = await request(url, {
        method: "POST",
        reset: true,
        headers: { "content-type": isForm ? "application/x-www-form-urlencoded" : "application/json" },
        body: isForm ? body.toString() : JSON.stringify(body),
      });
      const json = (await answer.body.json()) as Record<string, unknown>;
      if (answer.statusCode !== 503 || attempt === RETRIES)
        return { status: answer.statusCode, body: json, isRepeated: attempt > 0 };
    } catch (error) {
      if (attempt === RETRIES) throw error;
    }
    await pause(PAUSE_MS);
  }
}
