import {
  type AuthorizationServer,
  type Client,
  type ClientAuth,
  ClientSecretPost,
  dynamicClientRegistrationRequest,
  None,
  processDynamicClientRegistrationResponse,
  ResponseBodyError,
} from "oauth4webapi";
import {
  Hidden,
  OutboundError,
  oauthOptions,
  Problem,
  privateKeyJwt,
  type Settings,
  type Tls,
  type World,
} from "../base/index.ts";
import { DEVICE_CODE } from "./authorization-server.ts";
import { type Management, readManagement } from "./client-deletion.ts";
import { unreachable } from "./fetch-json.ts";
import type { ClientSource } from "./oauth-records.ts";
import type { ProviderFacts } from "./profile.ts";
import type { OAuthSettings } from "./upstream.ts";

export type AuthMethod = "client_secret_basic" | "client_secret_post" | "private_key_jwt" | "none";

/** Who we are to one authorization server. */
export interface Registration {
  clientId: string;
  clientSource: ClientSource;
  clientSecret?: Hidden;
  authMethod: AuthMethod;
  /** Milliseconds since 1970; from then on a new registration is needed. */
  secretExpiresAt?: number;
  /** Absent: the server lets nobody manage it (RFC 7592), or it was not registered dynamically. */
  management?: Management;
}

export interface RegistrationRequest {
  server: AuthorizationServer;
  oauth: OAuthSettings;
  redirectUri: string;
  documentUrl: string;
  scopes: readonly string[];
  /** What may be asked for later, when an upstream wants more for one of its tools. */
  furtherScopes?: readonly string[];
  facts?: ProviderFacts;
  /** The upstream's. */
  tls?: Tls;
}

/** In the order of the MCP specification: a client id given, a Client ID Metadata Document, RFC 7591. */
export async function register(
  world: World,
  settings: Settings,
  request: RegistrationRequest,
): Promise<Registration> {
  const { server, oauth } = request;
  if (oauth.clientId !== undefined) {
    const authMethod = givenMethod(oauth, server, request.facts);
    return { clientId: oauth.clientId, clientSource: "given", authMethod };
  }
  // The JWT says who we are; a server that wants a client id as well gets the one that we have everywhere.
  if (oauth.grantType === "jwt_bearer" || oauth.grantType === "token_exchange")
    return { clientId: request.documentUrl, clientSource: "cimd", authMethod: "none" };
  // The id is the document's address, and an authorization server reads https only.
  if (server.client_id_metadata_document_supported && request.documentUrl.startsWith("https:"))
    return { clientId: request.documentUrl, clientSource: "cimd", authMethod: "none" };
  if (server.registration_endpoint) return registerDynamically(world, settings, request);
  throw new Problem(
    "unprocessable",
    "client_registration_required",
    `The authorization server registers no clients by itself. ${howToRegister(request)}`,
    { param: "oauth_config.client_id" },
  );
}

/** Our metadata as a client: what RFC 7591 registers and what our client document says. */
export function clientMetadata(settings: Settings, redirectUri: string) {
  return {
    client_name: "Postern",
    client_uri: settings.baseUrl.origin,
    redirect_uris: [redirectUri],
    grant_types: [...USUAL_GRANTS],
    response_types: ["code"],
    // MCP 2026-07-28: `native` is what makes a loopback redirect acceptable.
    application_type: settings.baseUrl.protocol === "https:" ? "web" : "native",
  };
}

const USUAL_GRANTS: readonly string[] = ["authorization_code", "refresh_token"];

/** RFC 8628 §4: where the server gives codes, its people may use one instead of a redirect. */
function grantTypes(server: AuthorizationServer): readonly string[] {
  return server.device_authorization_endpoint !== undefined ? [...USUAL_GRANTS, DEVICE_CODE] : USUAL_GRANTS;
}

/** RFC 7591 §2: `scope` is what the client may ask for at all. A server that gives us so much to nobody is asked for less. */
async function registerDynamically(
  world: World,
  settings: Settings,
  request: RegistrationRequest,
): Promise<Registration> {
  const { scopes, furtherScopes = [] } = request;
  const all = scopes.length === 0 ? [] : [...new Set([...scopes, ...furtherScopes])];
  const least = { scopes, grants: USUAL_GRANTS };
  const most = { scopes: all, grants: grantTypes(request.server) };
  if (all.length === scopes.length && most.grants.length === least.grants.length)
    return dynamic(world, settings, request, least);
  return dynamic(world, settings, request, most).catch((error: unknown) => {
    if (error instanceof Problem && error.kind === "unprocessable")
      return dynamic(world, settings, request, least);
    throw error;
  });
}

async function dynamic(
  world: World,
  settings: Settings,
  request: RegistrationRequest,
  { scopes, grants }: { scopes: readonly string[]; grants: readonly string[] },
): Promise<Registration> {
  const { server, redirectUri } = request;
  const endpoint = new URL(server.registration_endpoint!);
  try {
    const response = await dynamicClientRegistrationRequest(
      server,
      {
        ...clientMetadata(settings, redirectUri),
        grant_types: [...grants],
        token_endpoint_auth_method: preferredMethod(server),
        ...(scopes.length > 0 ? { scope: scopes.join(" ") } : {}),
      },
      oauthOptions(world, endpoint, request.tls),
    );
    const answer = await processDynamicClientRegistrationResponse(await withExpiry(response));
    return readRegistration(answer, request);
  } catch (error) {
    if (error instanceof Problem) throw error;
    if (error instanceof OutboundError) throw unreachable(error, endpoint);
    throw refused(
      error instanceof ResponseBodyError ? { error: error.error, status: error.status } : { error },
      request,
    );
  }
}

/** RFC 7591 §3.2.1 wants an end with every secret; servers that leave it out, which are many, mean that there is none. */
async function withExpiry(response: Response): Promise<Response> {
  if (response.status !== 201) return response;
  const body: unknown = await response
    .clone()
    .json()
    .catch(() => undefined);
  if (typeof body !== "object" || body === null || !("client_secret" in body)) return response;
  if ("client_secret_expires_at" in body) return response;
  const { status, headers } = response;
  return Response.json({ ...body, client_secret_expires_at: 0 }, { status, headers });
}

function readRegistration(client: Client, request: RegistrationRequest): Registration {
  const { server, redirectUri } = request;
  const secret = typeof client.client_secret === "string" ? client.client_secret : undefined;
  const uris = client.redirect_uris;
  if (Array.isArray(uris) && !uris.includes(redirectUri))
    throw refused({ reason: "redirect_uris changed" }, request);
  const expires = client.client_secret_expires_at;
  return {
    clientId: client.client_id,
    clientSource: "dcr",
    clientSecret: secret === undefined ? undefined : new Hidden(secret),
    authMethod: secret === undefined ? "none" : answeredMethod(client.token_endpoint_auth_method, server),
    // RFC 7591 §3.2.1: seconds; 0 is never.
    secretExpiresAt: typeof expires === "number" && expires > 0 ? expires * 1000 : undefined,
    management: readManagement(client, new URL(server.registration_endpoint!)),
  };
}

function refused(log: Record<string, unknown>, request: RegistrationRequest): Problem {
  return new Problem(
    "unprocessable",
    "client_registration_refused",
    `The authorization server did not register the gateway as a client. ${howToRegister(request)}`,
    { param: "oauth_config.client_id", log },
  );
}

/** What an administrator does next. A redirect URI of its own is not named: an upstream that is not created has none yet. */
function howToRegister({ facts, oauth, redirectUri }: RegistrationRequest): string {
  const page = facts?.administrator.register_at;
  const place = facts && page ? `with ${facts.name} at ${page}` : "there";
  const uri = oauth.redirect === "shared" ? `the redirect URI ${redirectUri}` : "the redirect URI";
  return `Register one ${place} with ${uri} and give its client_id.`;
}

/** How a client that an administrator registered proves itself: as they said, else with what they gave. */
export function givenMethod(
  oauth: OAuthSettings,
  server: AuthorizationServer,
  facts?: ProviderFacts,
): AuthMethod {
  if (oauth.authMethod) return oauth.authMethod;
  if (oauth.hasClientSecret) return facts?.client?.authentication ?? secretMethod(server);
  return oauth.hasPrivateKey ? "private_key_jwt" : "none";
}

/** RFC 8414 §2: a list that is absent means `client_secret_basic`. */
function secretMethod(server: AuthorizationServer): AuthMethod {
  const methods = server.token_endpoint_auth_methods_supported;
  return methods && !methods.includes("client_secret_basic") && methods.includes("client_secret_post")
    ? "client_secret_post"
    : "client_secret_basic";
}

function preferredMethod(server: AuthorizationServer): AuthMethod {
  const methods = server.token_endpoint_auth_methods_supported ?? ["client_secret_basic"];
  const known = ["client_secret_basic", "client_secret_post", "none"] as const;
  return known.find((method) => methods.includes(method)) ?? "none";
}

function answeredMethod(method: unknown, server: AuthorizationServer): AuthMethod {
  if (method === "client_secret_basic" || method === "client_secret_post" || method === "none") return method;
  return secretMethod(server);
}

/** What a client proves itself with. */
export interface ClientProof {
  clientSecret?: Hidden;
  privateKey?: Hidden;
  privateKeyId?: string;
}

/** How we prove ourselves at the token and revocation endpoints. */
export function clientAuthentication(method: AuthMethod, proof: ClientProof): ClientAuth {
  const { clientSecret: secret, privateKey, privateKeyId } = proof;
  if (method === "private_key_jwt") return privateKey ? privateKeyJwt(privateKey, privateKeyId) : None();
  if (!secret || method === "none") return None();
  const plain = secret.reveal();
  return method === "client_secret_post" ? ClientSecretPost(plain) : basic(plain);
}

/**
 * RFC 6749 §2.3.1: id and secret form-encoded, then as Basic. The library's own encodes `-`, `.` and `_` too, which servers that
 * decode nothing do not recognise.
 */
function basic(secret: string): ClientAuth {
  const encoded = (value: string) => new URLSearchParams([["", value]]).toString().slice(1);
  return (_server, client, _body, headers) => {
    const pair = `${encoded(client.client_id)}:${encoded(secret)}`;
    headers.set("authorization", `Basic ${Buffer.from(pair).toString("base64")}`);
  };
}
