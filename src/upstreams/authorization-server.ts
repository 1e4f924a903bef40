import type { AuthorizationServer } from "oauth4webapi";
import { type JsonObject, Problem, type Tls, type World } from "../base/index.ts";
import { badMetadata, fetchDocument, listOf, textOf } from "./fetch-json.ts";
import type { ProviderFacts } from "./profile.ts";
import { type OAuthSettings, obtainsOwnToken } from "./upstream.ts";

/** RFC 8628 §3.4. */
export const DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code";

const endpoints = [
  ["authorization_endpoint", "authorizeUrl", "authorize_url"],
  ["token_endpoint", "tokenUrl", "token_url"],
  ["registration_endpoint", "registrationUrl", "registration_url"],
  ["revocation_endpoint", "revocationUrl", "revocation_url"],
] as const;

/**
 * The metadata of the authorization server `issuer`, reduced to what we use, with the administrator's endpoints in place
 * and, where neither has one, those of the provider's profile. Throws when there is none that may be used.
 */
export async function findAuthorizationServer(
  world: World,
  issuer: string,
  given: OAuthSettings,
  facts?: ProviderFacts,
  tls?: Tls,
): Promise<AuthorizationServer> {
  const url = URL.parse(issuer);
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:") || url.hash !== "" || url.search !== "")
    throw badMetadata("the authorization server is not named by a URL", issuer);
  const isGiven = given.authorizeUrl !== undefined && given.tokenUrl !== undefined;
  const known = facts?.endpoints;
  // RFC 6749 §4.4: nobody is sent anywhere, so one endpoint is enough.
  const isAlone = obtainsOwnToken({ oauth: given });
  const isKnown =
    (isAlone || (given.authorizeUrl ?? known?.authorization_endpoint)) &&
    (given.tokenUrl ?? known?.token_endpoint);
  const document = await readMetadata({ world, tls }, url, Boolean(isKnown), facts);
  if (!document && !isKnown) {
    throw new Problem(
      "unprocessable",
      "oauth_metadata_missing",
      "The upstream's authorization server publishes no metadata. Name authorize_url and token_url in oauth_config.",
      { param: "oauth_config", log: { issuer } },
    );
  }
  const server = compose(document ?? { issuer }, url, given, facts);
  if (!isAlone) checkPkce(document, server, isGiven || facts?.pkce === "unannounced");
  return server;
}

/** RFC 8414 §3.1, then OpenID Connect Discovery §4, in the order the MCP specification gives. */
function wellKnown(issuer: URL): URL[] {
  const path = issuer.pathname.replace(/\/$/, "");
  const names = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];
  const places = names.map((name) => new URL(name + path, issuer.origin));
  if (path !== "") places.push(new URL(`${path}/.well-known/openid-configuration`, issuer.origin));
  return places;
}

async function readMetadata(
  { world, tls }: { world: World; tls: Tls | undefined },
  issuer: URL,
  mayFail: boolean,
  facts?: ProviderFacts,
): Promise<JsonObject | undefined> {
  for (const place of wellKnown(issuer)) {
    const document = await fetchDocument(world, place, tls).catch((error: unknown) => {
      if (mayFail && error instanceof Problem && error.kind === "upstream") return undefined;
      throw error;
    });
    if (!document) continue;
    // RFC 8414 §3.3: the issuer is the one the address was made from, or nothing of it is used.
    const named = textOf(document, "issuer", place) ?? "";
    if (URL.parse(named)?.href !== issuer.href && !facts?.metadata_issuers?.includes(named))
      throw badMetadata("its issuer is not the one it was asked for", place);
    return document;
  }
  return undefined;
}

function compose(
  document: JsonObject,
  issuer: URL,
  given: OAuthSettings,
  facts?: ProviderFacts,
): AuthorizationServer {
  const named = textOf(document, "issuer", issuer)!;
  // A template is no issuer: what was asked for is.
  const server: Record<string, unknown> = {
    issuer: facts?.metadata_issuers?.includes(named) ? trimmedHref(issuer) : named,
  };
  for (const [member, setting, field] of endpoints) {
    const known = facts?.endpoints?.[member];
    const found = textOf(document, member, issuer);
    const endpoint = given[setting] ?? (found === known ? known : ownEndpoint(found, issuer, field)) ?? known;
    if (endpoint !== undefined) server[member] = endpoint;
  }
  const { token_endpoint, refresh_endpoint } = facts?.endpoints ?? {};
  if (refresh_endpoint && server.token_endpoint === token_endpoint)
    server.refresh_endpoint = refresh_endpoint;
  for (const member of [
    "scopes_supported",
    "code_challenge_methods_supported",
    "token_endpoint_auth_methods_supported",
    "revocation_endpoint_auth_methods_supported",
    "dpop_signing_alg_values_supported",
  ]) {
    const list = listOf(document, member, issuer);
    if (list) server[member] = list;
  }
  for (const member of [
    "authorization_response_iss_parameter_supported",
    "client_id_metadata_document_supported",
  ]) {
    if (document[member] === true) server[member] = true;
  }
  const device = vouchedFor(textOf(document, "device_authorization_endpoint", issuer), [
    issuer.href,
    server.token_endpoint,
  ]);
  const grants = document.grant_types_supported;
  const isGranted = !Array.isArray(grants) || grants.includes(DEVICE_CODE);
  if (device !== undefined && isGranted) server.device_authorization_endpoint = device;
  const canConsent = server.authorization_endpoint || obtainsOwnToken({ oauth: given });
  if (!canConsent || !server.token_endpoint)
    throw badMetadata("it names no authorization or token endpoint", issuer);
  return server as unknown as AuthorizationServer;
}

/** An endpoint that we can do without counts only where another one does already (UP-08). */
function vouchedFor(endpoint: string | undefined, by: readonly unknown[]): string | undefined {
  const origin = endpoint && URL.parse(endpoint)?.origin;
  const isKnown = by.some((one) => typeof one === "string" && URL.parse(one)?.origin === origin);
  return origin && isKnown ? endpoint : undefined;
}

function trimmedHref(url: URL): string {
  return url.href.replace(/\/$/, "");
}

/** Attack case UP-08: metadata must not lead codes and secrets elsewhere; only an administrator may. */
function ownEndpoint(endpoint: string | undefined, issuer: URL, field: string): string | undefined {
  if (endpoint === undefined) return undefined;
  if (URL.parse(endpoint)?.origin === issuer.origin) return endpoint;
  throw new Problem(
    "unprocessable",
    "oauth_endpoint_foreign",
    `The authorization server's metadata leads to another host. If that is right, name it: oauth_config.${field}.`,
    { param: `oauth_config.${field}`, log: { endpoint, issuer: issuer.href } },
  );
}

/** MCP "Authorization Code Protection": without S256 we do not start. Naming both endpoints oneself vouches for it. */
function checkPkce(
  document: JsonObject | undefined,
  server: AuthorizationServer,
  isVouchedFor: boolean,
): void {
  const methods = server.code_challenge_methods_supported;
  if (methods?.includes("S256") || (methods === undefined && isVouchedFor)) return;
  throw new Problem(
    "unprocessable",
    "pkce_unsupported",
    "The authorization server does not announce PKCE with S256. Ask its operator; if it only fails to announce it, name authorize_url and token_url in oauth_config.",
    { param: "oauth_config", log: { announced: document?.code_challenge_methods_supported } },
  );
}
