import { createHash } from "node:crypto";
import { freePort } from "../peers/free-port.ts";
import { type AuthorizationServer, startAuthorizationServer } from "../peers/identity-provider.ts";
import { startLoopbackServer } from "../peers/loopback-server.ts";
import { type ModernUpstream, startModernUpstream } from "../peers/modern-upstream.ts";
import { type RunningGateway, startGateway } from "../support/gateway.ts";
import { readJson } from "../support/read.ts";
import { startHttpsFront } from "./https-front.ts";

/** Upstreams by name; all but `tickets` by OAuth, each at a provider of its own. */
export const oauthNames = ["github", "linear", "drive", "notion"] as const;
export type OAuthName = (typeof oauthNames)[number];
export const API_KEY = "value-of-ada";
const verifier = "v".repeat(43);

export interface House {
  /** The public address, by https: client documents and `__Host-` cookies need it. */
  url: string;
  gateway: RunningGateway;
  providers: Record<OAuthName, AuthorizationServer>;
  /** By name, `tickets` too. */
  upstreamIds: Record<string, string>;
  key: { id: string; value: string };
  client: ClientSite;
  /** A client registers itself and begins; the address its person opens. */
  authorizeUrl(options?: { name?: string; redirectUri?: string }): Promise<string>;
  /** What the client does with the code it got: the access token. */
  redeem(callback: URL): Promise<string>;
  /** Lets the gateway's clock run ahead. */
  advance(ms: number): void;
  close(): Promise<void>;
}

/**
 * A gateway with five upstreams of every kind: `github` and `linear` by dynamic registration, `drive` by a client the
 * administrator registered, `notion` by our client document, `tickets` by an API key. And one virtual key.
 */
export async function openHouse(databaseUrl?: string): Promise<House> {
  const closing: (() => Promise<unknown>)[] = [];
  const keep = <T extends { close(): Promise<unknown> }>(one: T): T => {
    closing.push(() => one.close());
    return one;
  };
  const front = keep(await startHttpsFront());
  const port = await freePort();
  front.leadTo(port);
  const providers = await startProviders(front.origin, port, keep);
  const upstreams = await startUpstreams(providers, keep);
  const client = keep(await startClientSite());
  let later = 0;
  const gateway = await startGateway({
    port,
    ...(databaseUrl === undefined ? {} : { databaseUrl }),
    outboundAllow: [
      ...oauthNames.map((name) => providers[name].issuer),
      ...upstreams.map(({ url }) => url),
    ].map((url) => new URL(url).host),
    configure: ({ settings }) => {
      settings.baseUrl = new URL(front.origin);
      settings.aliases = [`http://127.0.0.1:${port}`];
      settings.tempTokenAuth = true;
    },
    now: () => new Date(Date.now() + later),
  });
  closing.push(() => gateway.stop());
  const upstreamIds: Record<string, string> = {};
  for (const [index, name] of [...oauthNames, "tickets"].entries())
    upstreamIds[name] = await addUpstream(gateway, name, upstreams[index]!);
  const made = await gateway.admin<{ virtual_key: House["key"] }>("POST", "/api/governance/virtual-keys", {
    name: "Ada's key",
  });
  return {
    url: front.origin,
    gateway,
    providers,
    upstreamIds,
    key: made.virtual_key,
    client,
    authorizeUrl: (options) => authorizeUrl(front.origin, gateway, client, options),
    redeem: (callback) => redeem(gateway, client.clientId, callback),
    advance: (ms) => {
      later += ms;
    },
    close: async () => {
      for (const close of closing.toReversed()) await close();
    },
  };
}

async function startProviders(
  origin: string,
  port: number,
  keep: <T extends { close(): Promise<unknown> }>(one: T) => T,
): Promise<House["providers"]> {
  const given = {
    client_id: "given-by-hand",
    client_secret: "a-secret-of-the-test",
    redirect_uris: [`${origin}/api/oauth/callback`],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
  };
  /** A provider would fetch the document at its https address; here it is the same page without TLS. */
  const document = async (clientId: string) => {
    const answer = await fetch(new URL(new URL(clientId).pathname, `http://127.0.0.1:${port}`));
    return answer.ok ? answer.json() : undefined;
  };
  const interaction = "page" as const;
  return {
    github: keep(await startAuthorizationServer({ interaction })),
    linear: keep(await startAuthorizationServer({ interaction })),
    drive: keep(
      await startAuthorizationServer({ interaction, dynamicRegistration: false, clients: [given] }),
    ),
    notion: keep(
      await startAuthorizationServer({ interaction, dynamicRegistration: false, clientDocument: document }),
    ),
  };
}

async function startUpstreams(
  providers: House["providers"],
  keep: <T extends { close(): Promise<unknown> }>(one: T) => T,
): Promise<ModernUpstream[]> {
  const started: ModernUpstream[] = [];
  for (const name of oauthNames)
    started.push(
      keep(await startModernUpstream({ protection: { kind: "oauth", provider: providers[name] } })),
    );
  const accounts = { [API_KEY]: "ada" };
  started.push(
    keep(await startModernUpstream({ protection: { kind: "header", name: "x-api-key", accounts } })),
  );
  return started;
}

async function addUpstream(gateway: RunningGateway, name: string, { url }: ModernUpstream): Promise<string> {
  const kind =
    name === "tickets"
      ? {
          auth_type: "per_user_headers",
          per_user_header_keys: ["X-Api-Key"],
          user_headers: { "X-Api-Key": API_KEY },
        }
      : { auth_type: "per_user_oauth" };
  const given = {
    oauth_config: { client_id: "given-by-hand", client_secret: "a-secret-of-the-test", redirect: "shared" },
  };
  const made = await gateway.admin<{ mcp_client_id: string }>("POST", "/api/mcp/client", {
    name,
    connection_type: "http",
    connection_string: url,
    tools_to_execute: ["*"],
    allow_on_all_virtual_keys: true,
    ...kind,
    ...(name === "drive" ? given : {}),
  });
  return made.mcp_client_id;
}

async function authorizeUrl(
  origin: string,
  gateway: RunningGateway,
  client: ClientSite,
  { name = "Claude Code", redirectUri = `${client.url}/cb` }: { name?: string; redirectUri?: string } = {},
): Promise<string> {
  const registered = await fetch(`${gateway.url}/api/oauth/per-user/register`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ client_name: name, redirect_uris: [redirectUri] }),
  });
  const { client_id } = await readJson(registered);
  client.clientId = client_id;
  const query = new URLSearchParams({
    response_type: "code",
    client_id,
    redirect_uri: redirectUri,
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
    state: "s1",
    resource: `${origin}/mcp`,
  });
  return `${origin}/api/oauth/per-user/authorize?${query}`;
}

async function redeem(gateway: RunningGateway, clientId: string, callback: URL): Promise<string> {
  const answer = await fetch(`${gateway.url}/api/oauth/per-user/token`, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "authorization_code",
      code: callback.searchParams.get("code") ?? "",
      code_verifier: verifier,
      client_id: clientId,
      redirect_uri: `${callback.origin}${callback.pathname}`,
    }),
  });
  const body = await readJson(answer);
  if (!answer.ok) throw new Error(JSON.stringify(body));
  return body.access_token;
}

/** What listens at the client's redirect URI. */
export interface ClientSite {
  url: string;
  /** The id of its last registration. */
  clientId: string;
  /** What came to the redirect URI, in order. */
  arrivals: URL[];
  close(): Promise<void>;
}

async function startClientSite(): Promise<ClientSite> {
  const arrivals: URL[] = [];
  const server = await startLoopbackServer((request, response) => {
    const url = new URL(request.url!, server.origin);
    // A browser also asks for the icon.
    if (url.pathname === "/cb") arrivals.push(url);
    response.end("back at the client");
  });
  return { url: server.origin, clientId: "", arrivals, close: () => server.close() };
}
