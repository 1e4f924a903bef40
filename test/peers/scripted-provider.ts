import type { IncomingMessage, ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { markedSecret } from "../support/marked.ts";
import { type SigningOptions, startTokenIssuer, type TokenIssuer } from "./token-issuer.ts";

/**
 * An OpenID provider that says what a test wants it to say, right or wrong: it redirects back at once, and signs with real
 * keys (test/peers/token-issuer.ts). Whoever asks is `claims.sub`.
 */
export interface ScriptedProvider {
  issuer: string;
  hostPort: string;
  tokens: TokenIssuer;
  /** Of the next ID tokens, over those that a right one has; undefined leaves one out. */
  claims: Record<string, unknown>;
  signing: SigningOptions;
  /** In place of what was signed. */
  idToken: ((right: string, claims: Record<string, unknown>) => string | Promise<string>) | undefined;
  userinfo: Record<string, unknown> | undefined;
  editMetadata: (document: Record<string, unknown>) => void;
  editRedirect: (url: URL) => void;
  /** Answers by path, in place of the usual ones. */
  answers: Map<string, (request: IncomingMessage, response: ServerResponse) => void>;
  /** `METHOD /path`, in order. */
  requests: string[];
  lastAuthorize: URLSearchParams;
  lastTokenRequest: { body: URLSearchParams; authorization: string | undefined };
  /** A logout token for this client (OIDC Back-Channel Logout 1.0 §2.4); the claims over those of a right one. */
  logoutToken(claims: Record<string, unknown>, how?: SigningOptions): Promise<string>;
  close(): Promise<void>;
}

export const CLIENT = "gateway-client";

export async function startScriptedProvider(now: () => Date, alg = "ES256"): Promise<ScriptedProvider> {
  const tokens = await startTokenIssuer(alg);
  const codes = new Map<string, URLSearchParams>();
  const provider: ScriptedProvider = {
    issuer: tokens.issuer,
    hostPort: tokens.hostPort,
    tokens,
    claims: { sub: "sub-ada", email: "ada@example.com", name: "Ada" },
    signing: {},
    idToken: undefined,
    userinfo: undefined,
    editMetadata: () => {},
    editRedirect: () => {},
    answers: new Map(),
    requests: [],
    lastAuthorize: new URLSearchParams(),
    lastTokenRequest: { body: new URLSearchParams(), authorization: undefined },
    logoutToken: (claims, how = {}) =>
      tokens.sign(
        {
          aud: CLIENT,
          jti: crypto.randomUUID(),
          events: { "http://schemas.openid.net/event/backchannel-logout": {} },
          ...claims,
        },
        { now: now(), ...how, header: { typ: "logout+jwt", ...how.header } },
      ),
    close: tokens.close,
  };
  tokens.answer = (request, response) => {
    const url = new URL(request.url ?? "/", tokens.issuer);
    provider.requests.push(`${request.method} ${url.pathname}`);
    const scripted = provider.answers.get(url.pathname);
    if (scripted) return scripted(request, response);
    void route({ provider, codes, now }, url, request, response);
  };
  return provider;
}

interface Running {
  provider: ScriptedProvider;
  codes: Map<string, URLSearchParams>;
  now: () => Date;
}

async function route(
  running: Running,
  url: URL,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { provider } = running;
  switch (url.pathname) {
    case "/.well-known/openid-configuration":
      return sendJson(response, 200, metadata(provider));
    case "/jwks":
      return sendJson(response, 200, { keys: provider.tokens.published });
    case "/authorize":
      return authorize(running, url, response);
    case "/token":
      return token(running, request, response);
    case "/userinfo":
      return sendJson(response, 200, provider.userinfo ?? {});
    default:
      return sendJson(response, 404, {});
  }
}

function metadata({ issuer, userinfo, editMetadata }: ScriptedProvider): Record<string, unknown> {
  const document = {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    end_session_endpoint: `${issuer}/end-session`,
    ...(userinfo && { userinfo_endpoint: `${issuer}/userinfo` }),
    id_token_signing_alg_values_supported: ["RS256", "ES256", "HS256", "none"],
  };
  editMetadata(document);
  return document;
}

function authorize({ provider, codes }: Running, url: URL, response: ServerResponse): void {
  provider.lastAuthorize = url.searchParams;
  const code = markedSecret();
  codes.set(code, url.searchParams);
  const back = new URL(url.searchParams.get("redirect_uri")!);
  back.searchParams.set("code", code);
  back.searchParams.set("state", url.searchParams.get("state")!);
  provider.editRedirect(back);
  response.writeHead(302, { location: back.href }).end();
}

async function token(
  { provider, codes, now }: Running,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const body = new URLSearchParams(await text(request));
  provider.lastTokenRequest = { body, authorization: request.headers.authorization };
  const asked = codes.get(body.get("code") ?? "");
  codes.delete(body.get("code") ?? "");
  if (!asked) return sendJson(response, 400, { error: "invalid_grant", error_description: "<b>no</b>" });
  const claims = { iss: provider.issuer, aud: CLIENT, nonce: asked.get("nonce"), ...provider.claims };
  const signed = await provider.tokens.sign(claims, { now: now(), ...provider.signing });
  const id_token = provider.idToken ? await provider.idToken(signed, claims) : signed;
  sendJson(response, 200, { access_token: markedSecret(), token_type: "Bearer", id_token });
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
