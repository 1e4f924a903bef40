import { newSecret, Problem, ProofKey, sha256 } from "../base/index.ts";
import type { FlowData } from "../db/index.ts";
import { cookie, cookieName } from "../http/index.ts";
import type { Upstream, UpstreamAuthorization } from "../upstreams/index.ts";
import { extendLink, type Link } from "./links.ts";
import type { ConnectParts } from "./parts.ts";
import { refuseSwitchedOff } from "./standing.ts";
import { scopesFor } from "./step-up.ts";

/** What was true when the browser left for the provider; the callback holds the answer against it. */
export interface TripData extends FlowData {
  config_id: string;
  issuer: string;
  token_endpoint: string;
  redirect_uri: string;
  /** RFC 9207 §2.3: the provider promised `iss` in every answer. */
  iss_promised: boolean;
  /** What was asked for. Absent: by a version before this one. */
  scopes?: string[];
}

export interface Departure {
  /** The provider's authorization endpoint, with our request. */
  url: string;
  cookie: [string, string];
}

const TRIP_MS = 10 * 60_000;

/**
 * Leaves for the provider: `state`, PKCE and the cookie come into being only now, after the person said yes
 * (MCP security best practices, confused deputy). An earlier trip of the same link ends.
 */
export async function depart(parts: ConnectParts, link: Link, upstream: Upstream): Promise<Departure> {
  await refuseSwitchedOff(parts, link);
  const authorization = await currentFor(parts, upstream);
  const scopes = await scopesFor(parts, link, authorization);
  const key = authorization.proofs ? ProofKey.make() : undefined;
  const state = newSecret(parts.world);
  const browser = newSecret(parts.world);
  const verifier = newSecret(parts.world);
  const data = tripData(authorization, scopes);
  await parts.database.transaction(async (tx) => {
    await extendLink(parts, tx, link, parts.world.now().getTime() + TRIP_MS);
    await parts.flows.end(tx, { kind: "state", parentId: link.id }, "replaced");
    await parts.vault.releaseHeld(tx, link.id, "replaced");
    await parts.flows.start(tx, {
      kind: "state",
      handleHash: parts.hash.of("state", state),
      browserHash: parts.hash.of("flow_cookie", browser),
      owner: link.owner,
      upstreamId: link.upstreamId,
      account: link.account,
      parentId: link.id,
      data,
      secret: { verifier, ...(key && { proof_key: key.secret.reveal() }) },
      ttlMs: TRIP_MS,
    });
  });
  return {
    url: authorizationUrl({ ...authorization, scopes }, state, verifier, key?.thumbprint),
    cookie: cookie(stateCookie(parts, state), browser, TRIP_MS / 1000, parts.settings),
  };
}

export function tripData(
  { configId, issuer, server, redirectUri }: UpstreamAuthorization,
  scopes: string[],
): TripData {
  return {
    config_id: configId,
    issuer,
    token_endpoint: server.token_endpoint ?? "",
    redirect_uri: redirectUri,
    iss_promised: server.authorization_response_iss_parameter_supported === true,
    scopes,
  };
}

/** Says to administrators as well when the upstream names another authorization server than before. */
export async function currentFor(parts: ConnectParts, upstream: Upstream): Promise<UpstreamAuthorization> {
  try {
    return await parts.oauth.current(upstream);
  } catch (error) {
    if (error instanceof Problem && error.code === "issuer_changed") {
      const { code, message } = error;
      await parts.upstreams.recordFailure(upstream.id, { code, message, at: parts.world.now().getTime() });
    }
    throw error;
  }
}

/** One cookie per trip, so that two services connected at once do not disturb each other. */
export function stateCookie(parts: ConnectParts, state: string): string {
  return cookieName("state", parts.settings, sha256(state).slice(0, 16));
}

/** RFC 6749 §4.1.1 with PKCE, and what the provider's profile adds; nothing of ours can be replaced by it. */
export function authorizationUrl(
  authorization: UpstreamAuthorization,
  state: string,
  verifier: string,
  thumbprint?: string,
): string {
  const { server, client, redirectUri, resource, scopes, facts } = authorization;
  const url = new URL(server.authorization_endpoint!);
  // MCP security best practices, "Authorization URL validation": never javascript: and its kin.
  if (url.protocol !== "https:" && url.protocol !== "http:")
    throw new Error("an authorization endpoint that is no web page");
  const scope = scopes.length > 0 ? scopes.join(facts?.scope?.separator ?? " ") : undefined;
  const parameters: Record<string, string | undefined> = {
    // OpenID Connect Core §11: a refresh token is given only with consent.
    prompt: scopes.includes("offline_access") ? "consent" : undefined,
    ...facts?.authorize,
    response_type: "code",
    client_id: client.client_id,
    redirect_uri: redirectUri,
    state,
    code_challenge: sha256(verifier),
    code_challenge_method: "S256",
    // RFC 9449 §10: the code is of use with this key only.
    dpop_jkt: thumbprint,
    // RFC 8707 §2.1
    resource,
    [facts?.scope?.parameter ?? "scope"]: scope,
  };
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) url.searchParams.set(name, value);
  }
  return url.href;
}
