import { readFileSync } from "node:fs";
import type { HttpBindings } from "@hono/node-server";
import {
  Access,
  decide,
  keyConfigs,
  reconcileKeyFile,
  VirtualKeys,
  virtualKeyRoutes,
} from "./access/index.ts";
import { Audit } from "./audit/index.ts";
import {
  type KeyedHash,
  type Owner,
  openLog,
  openOutbound,
  Seal,
  systemWorld,
  type World,
} from "./base/index.ts";
import type { Config } from "./config.ts";
import { Connect } from "./connect/index.ts";
import { type Database, Flows, Outbox, openDatabase, openKeyedHash, sweep } from "./db/index.ts";
import { frontRoutes, Metrics } from "./front/index.ts";
import { mount, RateLimits, type Route } from "./http/index.ts";
import { Guard, identityRoutes, ownerOf, type Principal, Sessions, Setup, Users } from "./identity/index.ts";
import { Issuer } from "./issuer/index.ts";
import { type Job, Jobs } from "./jobs.ts";
import { anonymousSessionId, mcpRoutes } from "./mcp/index.ts";
import { Relay } from "./relay/index.ts";
import {
  authorizationMoved,
  discoveryOwner,
  reconcileFile,
  sameHeaderKeys,
  ToolLists,
  UpstreamOAuth,
  Upstreams,
  upstreamRoutes,
} from "./upstreams/index.ts";
import { Vault } from "./vault/index.ts";

/** A whole gateway, not yet listening. */
export interface Gateway {
  fetch(request: Request, bindings?: HttpBindings): Response | Promise<Response>;
  /** Starts what happens by itself: sweeping, delivering, refreshing tool lists, following other replicas. */
  startJobs(): Promise<void>;
  /** The one-time link for the first administrator; undefined when there is one. */
  setupLink(): Promise<string | undefined>;
  /** Writes what waits in memory and closes everything. */
  close(): Promise<void>;
}

/**
 * Builds every part once, by hand, in the order of the levels. Throws what configuration, key or database refuse.
 * `now`: the clock of a test.
 */
export async function openGateway(config: Config, overrides: { now?: () => Date } = {}): Promise<Gateway> {
  const world = openWorld(config, overrides);
  const database = await openDatabase(config.databaseUrl.reveal(), world.log);
  try {
    const ground = await layGround(config, world, database);
    const parts = buildParts(ground);
    await readConfiguration(parts, ground);
    return assemble(parts, ground);
  } catch (error) {
    await database.close();
    await world.outbound.close();
    throw error;
  }
}

function openWorld(config: Config, overrides: { now?: () => Date }): World {
  const outbound = openOutbound({ allow: { admin: config.outboundAllow, stranger: config.cimdAllow } });
  return { ...systemWorld({ outbound, log: openLog(config.logLevel) }), ...overrides };
}

/** What every part above it is given. */
interface Ground {
  config: Config;
  world: World;
  database: Database;
  seal: Seal;
  hash: KeyedHash;
  flows: Flows;
  outbox: Outbox;
  audit: Audit;
  limits: RateLimits;
  version: string;
}

async function layGround(config: Config, world: World, database: Database): Promise<Ground> {
  const seal = new Seal(config.encryptionKeys, world.random);
  return {
    config,
    world,
    database,
    seal,
    hash: await openKeyedHash(database, seal, world),
    flows: new Flows(world, seal),
    outbox: new Outbox(world, seal),
    audit: new Audit({ database, world }),
    limits: new RateLimits(world, config.limits),
    version: JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version,
  };
}

type Parts = ReturnType<typeof buildParts>;

function buildParts(ground: Ground) {
  const { settings } = ground.config;
  const users = new Users(ground);
  const sessions = new Sessions({ ...ground, settings, users });
  const setup = new Setup({ ...ground, settings, users, sessions });
  const upstreams = new Upstreams({ ...ground, settings });
  const oauth = new UpstreamOAuth({ ...ground, settings });
  const keys = new VirtualKeys(ground);
  const access = new Access({ ...ground, upstreams, keys });
  const vault = new Vault({ ...ground, oauth });
  const issuer: Issuer = new Issuer({
    ...ground,
    settings,
    upstreams,
    vault,
    access,
    virtualKeys: keys,
    sessionOf: async (request) => {
      const signedIn = await sessions.of(request);
      return signedIn && { userId: signedIn.user.id, email: signedIn.user.email, name: signedIn.user.name };
    },
  });
  const relay = new Relay({ ...ground, upstreams, vault });
  const connect = new Connect({
    ...ground,
    settings,
    rateLimits: ground.limits,
    sessions,
    vault,
    upstreams,
    oauth,
    virtualKeys: keys,
    verifyHeaders: (upstream, headers) => relay.verifyHeaders(upstream, headers),
    consentGate: (request, flowId, upstreamId) => issuer.consentGate(request, flowId, upstreamId),
    grantBrowserHash: (grantId) => issuer.grantBrowserHash(grantId),
    anonymousSessionId: (value) => anonymousSessionId(ground.hash, value),
  });
  const tools = new ToolLists({
    ...ground,
    upstreams,
    probe: (upstream, owner) => relay.listTools(upstream, owner),
    hasCredential: async (owner, upstreamId) =>
      (await credentialStatus(vault, owner, upstreamId)) === "active",
  });
  const parts = {
    users,
    sessions,
    setup,
    upstreams,
    oauth,
    keys,
    access,
    vault,
    issuer,
    connect,
    relay,
    tools,
    metrics: new Metrics(),
  };
  linkParts(parts);
  return parts;
}

async function credentialStatus(vault: Vault, owner: Owner, upstreamId: string): Promise<string | undefined> {
  return (await vault.statuses(owner, [upstreamId])).get(upstreamId)?.status;
}

/** What must follow an event, in the transaction that causes it (contract section 2, reconciliation). */
function linkParts({ users, upstreams, keys, access, vault, issuer, tools }: Omit<Parts, "metrics">): void {
  upstreams.listeners.push({
    changed: async (tx, before, after) => {
      if (authorizationMoved(before, after)) await vault.needsReauth(tx, after.id, "configuration_changed");
      if (!sameHeaderKeys(before, after))
        await vault.requireHeaders(tx, { upstreamId: after.id, names: after.perUserHeaderKeys });
      if (before.allowOnAllVirtualKeys !== after.allowOnAllVirtualKeys)
        await access.upstreamChanged(tx, after.id);
    },
    deleted: async (tx, upstream) => {
      await vault.dropUpstream(tx, upstream.id);
    },
  });
  users.listeners.push({
    deleted: async (tx, user) => {
      const owner: Owner = { mode: "user", id: user.id };
      await issuer.revokeGrantsOf(tx, { owner });
      await vault.dropOwner(tx, owner);
      await keys.deleteOf(tx, user.id);
    },
  });
  keys.listeners.push({
    changed: (tx, before, after) => access.keyChanged(tx, before, after),
    deleted: async (tx, key) => {
      await issuer.revokeGrantsOf(tx, { virtualKeyId: key.id });
      await vault.dropOwner(tx, { mode: "vk", id: key.id });
    },
  });
  access.listeners.push((tx, owner, allowed) => vault.setAccess(tx, owner, allowed));
  vault.connected.push((owner, upstreamId) => tools.connected(owner, upstreamId));
}

/** Brings the stored upstreams and keys in line with the file, and makes the administrator the environment names. */
async function readConfiguration(parts: Parts, { config, world }: Ground): Promise<void> {
  await parts.upstreams.load();
  await reconcileFile(parts.upstreams, config.upstreams);
  await reconcileKeyFile({ ...parts, log: world.log }, config.virtualKeys);
  if (config.admin) await parts.setup.ensureAdmin(config.admin.email, config.admin.password);
}

function assemble(parts: Parts, ground: Ground): Gateway {
  const { config, world, database, audit } = ground;
  const guard = new Guard({
    ...ground,
    settings: config.settings,
    sessions: parts.sessions,
    adminToken: config.adminToken,
    resolveKey: async (value) => {
      const answer = await parts.keys.authenticate(value);
      return answer.ok
        ? { virtualKeyId: answer.key.id, name: answer.key.name, userId: answer.key.userId }
        : undefined;
    },
  });
  const app = mount(routesOf(parts, ground), {
    world,
    settings: config.settings,
    limits: ground.limits,
    authenticate: (request, route) => guard.authenticate(request, route),
  });
  const jobs = new Jobs(world.log);
  return {
    fetch: (request, bindings) => app.fetch(request, bindings),
    startJobs: async () => {
      if (database.kind === "postgres") database.changes.follow();
      jobs.start(jobsOf(parts, ground));
      void parts.tools.refreshDue();
    },
    setupLink: () => parts.setup.link(),
    close: async () => {
      await jobs.stop();
      await parts.tools.settled();
      await parts.relay.close();
      await parts.issuer.flush();
      await audit.flush();
      await parts.metrics.close();
      await database.close();
      await world.outbound.close();
    },
  };
}

function routesOf(parts: Parts, ground: Ground): Route[] {
  const { settings } = ground.config;
  const { upstreams, oauth, tools, vault, keys, access, connect, issuer, relay, sessions, users, metrics } =
    parts;
  return [
    ...frontRoutes({
      settings,
      metrics,
      ready: () => ground.database.ready(),
      hasAdmin: () => users.hasAdmin(),
      personOf: async (request) => {
        const signedIn = await sessions.of(request);
        return signedIn && { email: signedIn.user.email, isAdmin: signedIn.user.role === "admin" };
      },
      upstreams: () =>
        upstreams.all().map(({ name, state, authType, tools: list, lastFailure }) => ({
          name,
          state,
          authType,
          tools: list.length,
          failure: lastFailure?.message,
        })),
    }),
    ...identityRoutes({ users, sessions, setup: parts.setup, settings }),
    ...upstreamRoutes({
      settings,
      upstreams,
      oauth,
      tools,
      audit: ground.audit,
      keyConfigs: keyConfigs({ ...ground, keys }),
      visible: async (caller) => visibleUpstreams(access, upstreams, caller),
      startDiscoveryFlow: (upstream) => connect.start(discoveryOwner(upstream), upstream),
      verifyHeaders: (upstream, headers) => parts.relay.verifyHeaders(upstream, headers),
      keepSample: async (tx, upstream, headers) => {
        const secret = { kind: "headers" as const, headers };
        await vault.put(tx, {
          owner: discoveryOwner(upstream),
          upstreamId: upstream.id,
          account: "",
          secret,
        });
      },
      credentialStatus: (owner, upstreamId) => credentialStatus(vault, owner, upstreamId),
    }),
    ...virtualKeyRoutes({ ...ground, keys, upstreams }),
    ...connect.routes(),
    ...issuer.routes,
    ...mcpRoutes({
      ...ground,
      settings,
      issuer,
      virtualKeys: keys,
      access,
      upstreams,
      vault,
      relay,
      connect,
      onCall: (report) => metrics.recordCall(report),
    }),
  ];
}

/** The upstreams whose names a caller who is no administrator may read. */
async function visibleUpstreams(
  access: Access,
  upstreams: Upstreams,
  caller: Principal,
): Promise<Set<string>> {
  const owner = ownerOf(caller);
  if (!owner) return new Set(upstreams.all().map(({ id }) => id));
  const virtualKeyId = caller.kind === "virtual_key" ? caller.virtualKeyId : undefined;
  const rules = await access.rulesFor({ owner, virtualKeyId });
  return new Set(
    upstreams
      .all()
      .filter((upstream) => decide(rules, upstream))
      .map(({ id }) => id),
  );
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;

function jobsOf(parts: Parts, { database, world, outbox, audit }: Ground): Job[] {
  return [
    { name: "audit.flush", everyMs: SECOND, run: () => audit.flush() },
    { name: "outbox.run", everyMs: 5 * SECOND, run: () => outbox.run(database) },
    { name: "grants.flush", everyMs: 10 * SECOND, run: () => parts.issuer.flush() },
    { name: "tools.refresh", everyMs: 30 * SECOND, run: () => parts.tools.refreshDue() },
    { name: "sessions.sweep", everyMs: 10 * MINUTE, run: () => parts.sessions.sweep() },
    { name: "flows.sweep", everyMs: MINUTE, run: () => sweepFlows(parts, database, world) },
  ];
}

/** What was connected during a consent that expired belongs to nobody: it goes, and its provider is told. */
async function sweepFlows({ vault, issuer }: Parts, database: Database, world: World): Promise<void> {
  const { expired } = await sweep(database, world);
  for (const { id, kind } of expired) {
    if (kind === "consent") await database.transaction((tx) => vault.dropOwner(tx, { mode: "flow", id }));
  }
  // Again for what a crash between the two steps above left behind in an earlier run.
  await vault.dropAbandoned();
  await issuer.sweep();
}
