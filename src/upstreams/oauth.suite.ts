import { afterEach } from "vitest";
import { type LoopbackServer, startLoopbackServer } from "../../test/peers/loopback-server.ts";
import { watchedLog } from "../../test/support/leavings.ts";
import { testSettings } from "../../test/support/settings.ts";
import { testWorld } from "../../test/support/world.ts";
import { openOutbound, Seal, type Settings } from "../base/index.ts";
import { type Database, Outbox, openDatabase } from "../db/index.ts";
import { checkDefinition, type DefinitionBody, UpstreamOAuth, Upstreams } from "./index.ts";

export const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface Seen {
  method: string;
  path: string;
  headers: Record<string, unknown>;
  body: string;
}

/** A server whose answers are JSON by path (`METHOD path`); a function sees the request; `undefined` is 404. */
export async function peer() {
  const seen: Seen[] = [];
  const answers: Record<string, unknown> = {};
  const server: LoopbackServer = await startLoopbackServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url: path = "" } = request;
      const body = Buffer.concat(chunks).toString();
      seen.push({ method, path, headers: request.headers, body });
      const answer = answers[`${method} ${path}`];
      const value = typeof answer === "function" ? answer(body) : answer;
      const { status = value === undefined ? 404 : 200, headers = {}, json = value } = value?.raw ?? {};
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(json === undefined ? "" : JSON.stringify(json));
    });
  });
  closing.push(() => server.close());
  return {
    ...server,
    answers,
    seen,
    paths: () => seen.map((request) => `${request.method} ${request.path}`),
  };
}
export type Peer = Awaited<ReturnType<typeof peer>>;

export const PRM = "GET /.well-known/oauth-protected-resource";
export const AS = "GET /.well-known/oauth-authorization-server";

export function challenge(parameters: string) {
  return { raw: { status: 401, headers: { "www-authenticate": `Bearer ${parameters}` }, json: {} } };
}

/** RFC 7591 §3.2.1: the metadata sent, with a client id. */
export function registering(client: object) {
  return (body: string) => ({
    raw: { status: 201, json: { client_secret_expires_at: 0, ...JSON.parse(body), ...client } },
  });
}

/** An upstream at `/mcp` and its authorization server, both behaving. */
export async function behaving() {
  const [mcp, as] = [await peer(), await peer()];
  mcp.answers["POST /mcp"] = challenge(
    `resource_metadata="${mcp.origin}/.well-known/oauth-protected-resource/mcp"`,
  );
  mcp.answers[`${PRM}/mcp`] = {
    resource: `${mcp.origin}/mcp`,
    authorization_servers: [as.origin],
    scopes_supported: ["read"],
  };
  const metadata = {
    issuer: as.origin,
    authorization_endpoint: `${as.origin}/authorize`,
    token_endpoint: `${as.origin}/token`,
    registration_endpoint: `${as.origin}/register`,
    revocation_endpoint: `${as.origin}/revoke`,
    code_challenge_methods_supported: ["S256"],
    token_endpoint_auth_methods_supported: ["none", "client_secret_post"],
  };
  as.answers[AS] = metadata;
  as.answers["POST /register"] = registering({ client_id: "dcr-1", client_secret: "dcr-secret-1" });
  return { mcp, as, metadata };
}

export async function start(
  peers: Peer[],
  url: string,
  changes: Partial<DefinitionBody> = {},
  settings: Partial<Settings> = {},
  given?: Database,
) {
  const allow = peers.map(({ port }) => `127.0.0.1:${port}`);
  const outbound = openOutbound({ allow: { admin: allow, stranger: [] } });
  closing.push(() => outbound.close());
  const world = testWorld(outbound);
  const database = given ?? (await openDatabase("sqlite::memory:", watchedLog()));
  if (!given) closing.push(() => database.close());
  const seal = new Seal([world.random(32)], world.random);
  const outbox = new Outbox(world, seal);
  const audited: Record<string, unknown>[] = [];
  const audit = {
    append: async (_tx: unknown, { event, detail }: { event: string; detail?: object }) =>
      void audited.push({ event, ...detail }),
  };
  const parts = { world, database, seal, settings: testSettings(settings), outbox, audit };
  const upstreams = new Upstreams(parts);
  const body = { name: "up", connection_string: url, auth_type: "per_user_oauth" as const, ...changes };
  const upstream = await upstreams.create(checkDefinition(body), "api");
  return { ...parts, audited, upstreams, upstream, oauth: new UpstreamOAuth(parts) };
}
