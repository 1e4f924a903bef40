import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { HttpBindings } from "@hono/node-server";
import { reconcileKeyFile, reconcileVirtualMcpFile } from "./access/index.ts";
import { linkParts } from "./app-links.ts";
import { buildParts, type Ground, type Parts } from "./app-parts.ts";
import { routesOf } from "./app-routes.ts";
import { Audit, sweepAudit } from "./audit/index.ts";
import { Clock, openLog, openOutbound, Problem, systemWorld, type World } from "./base/index.ts";
import type { Config } from "./config.ts";
import { BadConfiguration } from "./config-problem.ts";
import { type Database, Flows, followClock, Outbox, openKeyedHash, sweep } from "./db/index.ts";
import { mount, RateLimits, type Route } from "./http/index.ts";
import { Guard } from "./identity/index.ts";
import { type Job, Jobs } from "./jobs.ts";
import { sweepKept } from "./mcp/index.ts";
import { openSealedDatabase, type SealedDatabase } from "./sealed-database.ts";
import { reconcileFile } from "./upstreams/index.ts";

/** A whole gateway, not yet listening. */
export interface Gateway {
  /** Every route of its folders, for what is generated from them. */
  readonly routes: readonly Route[];
  fetch(request: Request, bindings?: HttpBindings): Response | Promise<Response>;
  /** Answers requests of the hot path as `node:http` hands them over; false for all others. */
  direct(incoming: IncomingMessage, outgoing: ServerResponse): boolean;
  /** Ends what is kept open for clients to listen on, so that a stop need not wait for it. */
  closeStreams(): void;
  /** Starts what happens by itself: sweeping, delivering, refreshing tool lists, following other replicas. */
  startJobs(): Promise<void>;
  /** Does once, now, what jobs do now and then; for a test that moves the clock. */
  runJobs(): Promise<void>;
  /** The one-time link for the first administrator; undefined when there is one. */
  setupLink(): Promise<string | undefined>;
  /** Writes what waits in memory and closes everything. */
  close(): Promise<void>;
}

/** What a test has in place of the real one: its clock, randomness and log, and where the process dies. Nothing that starts a gateway for people has any. */
export type Overrides = Partial<Omit<World, "outbound">>;

/**
 * Builds every part once, by hand, in the order of the levels. Throws what configuration, key or database refuse.
 */
export async function openGateway(config: Config, overrides: Overrides = {}): Promise<Gateway> {
  const clock = new Clock();
  const world = openWorld(config, overrides, clock);
  const sealed = await openSealedDatabase(config, world);
  try {
    await followClock(sealed.database, clock, world);
    const ground = await layGround(config, world, sealed, clock);
    const parts = buildParts(ground);
    linkParts(parts, ground);
    await readConfiguration(parts, ground);
    return assemble(parts, ground);
  } catch (error) {
    await sealed.close();
    await world.outbound.close();
    throw error;
  }
}

function openWorld(config: Config, overrides: Overrides, clock: Clock): World {
  const outbound = openOutbound({ allow: { admin: config.outboundAllow, stranger: config.cimdAllow } });
  return { ...systemWorld({ outbound, log: openLog(config.logLevel), clock }), ...overrides };
}

async function layGround(
  config: Config,
  world: World,
  sealed: SealedDatabase,
  clock: Clock,
): Promise<Ground> {
  const { database, seal } = sealed;
  return {
    config,
    world,
    clock,
    sealed,
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

/** Brings the stored upstreams and keys in line with the file, and makes the administrator the environment names. */
async function readConfiguration(parts: Parts, { config, database, world }: Ground): Promise<void> {
  await parts.running.load();
  await parts.sso.reconcile();
  await parts.upstreams.load();
  await reconcileFile(parts.upstreams, config.upstreams);
  await reconcileKeyFile({ ...parts, log: world.log }, config.virtualKeys);
  if (config.admin) await makeAdministrator(parts, config.admin);
  await reconcileVirtualMcpFile({ ...parts, database, log: world.log }, config.virtualMcps);
  await parts.issuer.endUntrusted();
}

async function makeAdministrator({ setup }: Parts, admin: NonNullable<Config["admin"]>): Promise<void> {
  try {
    await setup.ensureAdmin(admin.email, admin.password);
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== "invalid") throw error;
    const name = error.param === "email" ? "POSTERN_ADMIN_EMAIL" : "POSTERN_ADMIN_PASSWORD";
    throw new BadConfiguration(`${name}: ${error.message}`);
  }
}

function assemble(parts: Parts, ground: Ground): Gateway {
  const { config, world, database, sealed } = ground;
  const guard = new Guard({
    ...ground,
    settings: config.settings,
    sessions: parts.sessions,
    tokens: parts.apiTokens,
    adminToken: config.adminToken,
    resolveKey: async (value) => {
      const answer = await parts.keys.authenticate(value);
      return answer.ok
        ? { virtualKeyId: answer.key.id, name: answer.key.name, userId: answer.key.userId }
        : undefined;
    },
    proveJwt: (token) => parts.jwts.prove(token),
  });
  const routes = routesOf(parts, ground);
  const app = mount(routes, {
    world,
    settings: config.settings,
    limits: ground.limits,
    authenticate: (request, route, log) => guard.authenticate(request, route, log),
  });
  const jobs = new Jobs(world.log, database.kind === "postgres" ? database.leases : undefined);
  return {
    routes,
    fetch: (request, bindings) => app.fetch(request, bindings),
    direct: (incoming, outgoing) => app.direct(incoming, outgoing),
    closeStreams: () => parts.streams.close(),
    startJobs: async () => {
      if (database.kind === "postgres") database.changes.follow();
      jobs.start(jobsOf(parts, ground));
      // Programs start with the gateway; what their command line says now may be another tool list.
      for (const { id, connectionType } of parts.upstreams.all())
        if (connectionType === "stdio") void parts.tools.refresh(id);
      void parts.tools.refreshDue();
    },
    runJobs: async () => {
      for (const job of jobsOf(parts, ground)) await job.run();
    },
    setupLink: () => parts.setup.link(),
    close: async () => {
      parts.streams.close();
      await jobs.stop();
      await parts.vault.close();
      await parts.tools.close();
      await parts.relay.close();
      await lastFlush(parts, ground);
      await parts.metrics.close();
      await sealed.close();
      await world.outbound.close();
    },
  };
}

/** What waits in memory; a database that is away does not keep the process from stopping. */
async function lastFlush(parts: Parts, { audit, world }: Ground): Promise<void> {
  for (const part of [parts.issuer, parts.anonymousSessions, audit])
    await part.flush().catch((error: unknown) => world.log.error("gateway.not_flushed", { error }));
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;

function jobsOf(parts: Parts, { database, sealed, world, clock, outbox, audit, config }: Ground): Job[] {
  return [
    {
      name: "audit.sweep",
      everyMs: 10 * MINUTE,
      on: "one",
      run: async () => void (await sweepAudit({ database, world }, config.settings.auditRetentionDays)),
    },
    { name: "audit.flush", everyMs: SECOND, run: () => audit.flush() },
    { name: "clock.follow", everyMs: 10 * SECOND, run: () => followClock(database, clock, world) },
    { name: "keys.follow", everyMs: 5 * SECOND, run: async () => void (await sealed.keys.renew()) },
    { name: "outbox.run", everyMs: 5 * SECOND, run: () => outbox.run(database) },
    { name: "grants.flush", everyMs: 10 * SECOND, run: () => parts.issuer.flush() },
    { name: "anonymous.flush", everyMs: 10 * SECOND, run: () => parts.anonymousSessions.flush() },
    { name: "anonymous.sweep", everyMs: 10 * MINUTE, on: "one", run: () => parts.anonymousSessions.sweep() },
    { name: "credentials.refresh", everyMs: 5 * SECOND, run: () => parts.vault.refreshAhead() },
    { name: "credentials.keep_alive", everyMs: 10 * MINUTE, on: "one", run: () => parts.vault.keepAlive() },
    { name: "tools.refresh", everyMs: 30 * SECOND, on: "one", run: () => parts.tools.refreshDue() },
    { name: "sessions.sweep", everyMs: 10 * MINUTE, on: "one", run: () => parts.sessions.sweep() },
    { name: "kept.sweep", everyMs: MINUTE, on: "one", run: () => sweepKept(database, world) },
    { name: "assertions.sweep", everyMs: 10 * MINUTE, on: "one", run: () => parts.spentAssertions.sweep() },
    { name: "flows.sweep", everyMs: MINUTE, on: "one", run: () => sweepFlows(parts, database, world) },
  ];
}

/** What was connected during a consent that expired belongs to nobody: it goes, and its provider is told. */
async function sweepFlows({ vault, issuer }: Parts, database: Database, world: World): Promise<void> {
  await sweep(database, world);
  await vault.dropAbandoned();
  await vault.dropOrphaned();
  await issuer.sweep();
}
