import { getRequestListener } from "@hono/node-server";
import { Browser } from "../../test/peers/browser.ts";
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from "../../test/peers/identity-provider.ts";
import { startLoopbackServer } from "../../test/peers/loopback-server.ts";
import { startModernUpstream } from "../../test/peers/modern-upstream.ts";
import type { OpenDatabase } from "../../test/support/databases.ts";
import { testSettings } from "../../test/support/settings.ts";
import { type TestWorld, testWorld } from "../../test/support/world.ts";
import { VirtualKeys } from "../access/index.ts";
import { Audit } from "../audit/index.ts";
import {
  Hidden,
  KeyedHash,
  type Owner,
  openOutbound,
  Problem,
  parseAllowList,
  Seal,
  type Settings,
} from "../base/index.ts";
import { type Database, Flows, Outbox } from "../db/index.ts";
import { cookieName, mount, RateLimits } from "../http/index.ts";
import { ApiTokens, Guard, identityRoutes, LocalSignIn, Sessions, Setup, Users } from "../identity/index.ts";
import { checkDefinition, type Upstream, UpstreamOAuth, Upstreams } from "../upstreams/index.ts";
import { Vault } from "../vault/index.ts";
import { Connect } from "./index.ts";

export const adminToken = "admin-token-admin-token-admin";

export interface HeaderVerification {
  headers(upstream: Upstream, headers: Readonly<Record<string, Hidden>>): Promise<unknown>;
}

/** Every part that connect/ stands on, real, with a real provider and a real upstream; served on a free port. */
export interface Rig {
  base: string;
  world: TestWorld;
  settings: Settings;
  database: Database;
  flows: Flows;
  hash: KeyedHash;
  outbox: Outbox;
  vault: Vault;
  connect: Connect;
  provider: AuthorizationServer;
  upstreams: Upstreams;
  upstream: Upstream;
  other: Upstream;
  keys: VirtualKeys;
  /** What the consent gate of this test lets through: consent flow id by upstream id. */
  gate: Map<string, string>;
  grants: Map<string, string>;
  /** What the live upstream says to header values; takes all of them unless a test says otherwise. */
  verify: HeaderVerification;
  person(name: string, role?: "admin" | "member"): Promise<{ owner: Owner; browser: Browser }>;
  browser(): Browser;
  key(name: string): Promise<{ owner: Owner; value: string }>;
  api(path: string, options?: { method?: string; bearer?: string; body?: unknown }): Promise<Response>;
}

export async function rig(
  open: OpenDatabase,
  closing: (() => Promise<unknown>)[],
  options: AuthorizationServerOptions = {},
): Promise<Rig> {
  const { database } = await open();
  const provider = await startAuthorizationServer(options);
  closing.push(() => provider.close());
  const upstreamServer = await startModernUpstream({ protection: { kind: "oauth", provider } });
  closing.push(() => upstreamServer.close());
  const front = await startLoopbackServer();
  closing.push(() => front.close());
  const hosts = [provider.issuer, upstreamServer.url].map((url) => new URL(url).host).join(",");
  const outbound = openOutbound({ allow: { admin: parseAllowList(hosts), stranger: [] } });
  closing.push(() => outbound.close());
  const world = testWorld(outbound);
  const settings = testSettings({ baseUrl: new URL(front.origin) });
  const parts = await build({ world, settings, database });
  front.server.on("request", getRequestListener(parts.app.fetch));
  const define = (name: string) =>
    parts.upstreams.create(
      checkDefinition({
        name,
        connection_string: upstreamServer.url,
        auth_type: "per_user_oauth",
        allow_on_all_virtual_keys: true,
      }),
      "api",
    );
  const upstream = await define("calendar");
  const other = await define("mail");
  const browser = () => {
    const fresh = new Browser();
    closing.push(() => fresh.close());
    return fresh;
  };
  return {
    base: front.origin,
    world,
    settings,
    database,
    provider,
    upstream,
    other,
    browser,
    ...parts,
    person: (name, role = "member") =>
      person(parts, { settings, database, base: front.origin }, browser(), name, role),
    key: async (name) => {
      const { key, value } = await parts.keys.create({ name, configs: [], source: "api" });
      return { owner: { mode: "vk", id: key.id }, value: value.reveal() };
    },
    api: (path, { method = "GET", bearer, body } = {}) =>
      parts.app.request(new URL(path, front.origin), {
        method,
        headers: {
          host: new URL(front.origin).host,
          ...(bearer ? { authorization: `Bearer ${bearer}` } : {}),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }) as Promise<Response>,
  };
}

async function build({
  world,
  settings,
  database,
}: {
  world: TestWorld;
  settings: Settings;
  database: Database;
}) {
  const seal = new Seal([world.random(32)], world.random);
  const hash = new KeyedHash(world.random(32));
  const flows = new Flows(world, seal);
  const outbox = new Outbox(world, seal);
  const upstreams = new Upstreams({ world, database, seal, settings });
  await upstreams.load();
  const oauth = new UpstreamOAuth({ world, database, seal, settings });
  const keys = new VirtualKeys({ world, database, hash });
  const users = new Users({ database, world });
  const sessions = new Sessions({ database, world, hash, seal, settings, users });
  const setup = new Setup({ database, flows, hash, settings, world, users, sessions });
  const audit = new Audit({ database, world });
  const vault = new Vault({ world, database, seal, flows, outbox, audit, oauth });
  const limits = new RateLimits(world);
  const local = new LocalSignIn({ world, database, flows, seal, hash, settings, limits, users });
  const gate = new Map<string, string>();
  const grants = new Map<string, string>();
  const verify: HeaderVerification = { headers: async () => [] };
  const connect = new Connect({
    world,
    database,
    flows,
    hash,
    settings,
    audit,
    rateLimits: limits,
    sessions,
    vault,
    upstreams,
    oauth,
    virtualKeys: keys,
    visible: async () => new Set(upstreams.all().map(({ id }) => id)),
    usableBy: async () => new Set(upstreams.all().map(({ id }) => id)),
    verifyHeaders: (upstream, headers) => verify.headers(upstream, headers),
    consentGate: async (_request, flowId, upstreamId) => {
      if (gate.get(upstreamId) !== flowId) throw new Problem("forbidden", "not_allowed", "Not this one.");
      return {
        flowId,
        identity: { owner: { mode: "vk", id: "vk_consent" } },
        returnTo: `/oauth/consent/mcps?flow_id=${flowId}`,
        client: { name: "Claude Code", host: "127.0.0.1:3334" },
        display: "a key of this test",
      };
    },
    grantBrowserHash: async (id) => grants.get(id),
    anonymousSessionId: (value) => `anon_${hash.of("anonymous_session", value)}`,
  });
  const resolveKey = async (value: string) => {
    const answer = await keys.authenticate(value);
    return answer.ok
      ? { virtualKeyId: answer.key.id, name: answer.key.name, userId: answer.key.userId }
      : undefined;
  };
  const guard = new Guard({
    sessions,
    tokens: new ApiTokens({ database, world, hash }),
    settings,
    hash,
    adminToken: new Hidden(adminToken),
    resolveKey,
  });
  const routes = [
    ...identityRoutes({ local, sessions, setup, settings, record: async () => {} }),
    ...connect.routes(),
  ];
  const authenticate = guard.authenticate.bind(guard);
  const app = mount(routes, { world, settings, limits, authenticate });
  return { seal, hash, flows, outbox, upstreams, keys, sessions, vault, connect, gate, grants, verify, app };
}

/** A person with an account here, signed in in a browser of their own. */
async function person(
  parts: Awaited<ReturnType<typeof build>>,
  { settings, database, base }: { settings: Settings; database: Database; base: string },
  browser: Browser,
  name: string,
  role: "admin" | "member",
): Promise<{ owner: Owner; browser: Browser }> {
  const id = `user_${name}`;
  const email = `${name}@example.com`;
  await database.db
    .insertInto("users")
    .values({ id, email, name, password_hash: null, role, is_active: 1, created_at: 1, updated_at: 1 })
    .execute();
  const { value } = await parts.sessions.start({ id });
  browser.cookies.store(
    new URL(base),
    `${cookieName("session", settings)}=${value.reveal()}; Path=/; HttpOnly`,
  );
  return { owner: { mode: "user", id }, browser };
}
