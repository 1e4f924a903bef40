import { Access, AnonymousSessions, decide, VirtualKeys, VirtualMcps } from "./access/index.ts";
import type { Audit } from "./audit/index.ts";
import type { Clock, KeyedHash, Owner, Seal, World } from "./base/index.ts";
import type { Config } from "./config.ts";
import { Connect } from "./connect/index.ts";
import type { Database, Flows, Outbox } from "./db/index.ts";
import { Metrics, RunningSettings } from "./front/index.ts";
import type { RateLimits } from "./http/index.ts";
import {
  ApiTokens,
  ownerOf,
  PasswordChanges,
  type Principal,
  Sessions,
  Setup,
  Users,
} from "./identity/index.ts";
import { Issuer } from "./issuer/index.ts";
import { anonymousSessionId, ClientStreams } from "./mcp/index.ts";
import { Relay } from "./relay/index.ts";
import type { SealedDatabase } from "./sealed-database.ts";
import { obtainsOwnToken, ToolLists, UpstreamOAuth, Upstreams } from "./upstreams/index.ts";
import { Vault } from "./vault/index.ts";

/** What every part above it is given. */
export interface Ground {
  config: Config;
  world: World;
  /** What `world.now` goes by. */
  clock: Clock;
  sealed: SealedDatabase;
  /** The two that every part works with, of `sealed`. */
  database: Database;
  seal: Seal;
  hash: KeyedHash;
  flows: Flows;
  outbox: Outbox;
  audit: Audit;
  limits: RateLimits;
  version: string;
}

export type Parts = ReturnType<typeof buildParts>;

/** Every part once, in the order of the levels. */
export function buildParts(ground: Ground) {
  const { settings } = ground.config;
  const users = new Users(ground);
  const running = new RunningSettings({ ...ground, given: ground.config.given, running: ground.config });
  const sessions = new Sessions({ ...ground, settings, users });
  const setup = new Setup({ ...ground, settings, users, sessions });
  const passwords = new PasswordChanges({ ...ground, settings, sessions });
  const apiTokens = new ApiTokens(ground);
  const upstreams = new Upstreams({ ...ground, settings });
  const oauth = new UpstreamOAuth({ ...ground, settings });
  const keys = new VirtualKeys(ground);
  const access = new Access({ ...ground, upstreams, keys });
  const virtualMcps = new VirtualMcps({ ...ground, keys });
  const vault = new Vault({
    ...ground,
    upstreams,
    oauth: {
      recorded: (upstream, tx) => oauth.recorded(upstream, tx),
      prepareOwn: (upstreamId) => oauth.prepare(upstreams.get(upstreamId)),
      registerAgain: async (upstreamId, version) => {
        const upstream = upstreams.find(upstreamId);
        return upstream?.oauth ? oauth.renewClient(upstream, version) : "refused";
      },
    },
  });
  const anonymousSessions = new AnonymousSessions({
    ...ground,
    drop: (tx, owner) => vault.dropOwner(tx, owner),
    log: ground.world.log,
  });
  const issuer: Issuer = new Issuer({
    ...ground,
    settings,
    upstreams,
    vault,
    access,
    virtualMcps,
    virtualKeys: keys,
    sessionOf: async (request) => {
      const signedIn = await sessions.of(request);
      return signedIn && { userId: signedIn.user.id, email: signedIn.user.email, name: signedIn.user.name };
    },
  });
  const relay = new Relay({ ...ground, upstreams, vault, commands: ground.config.commands });
  const connect = new Connect({
    ...ground,
    settings,
    rateLimits: ground.limits,
    sessions,
    vault,
    upstreams,
    oauth,
    virtualKeys: keys,
    visible: (caller) => visibleUpstreams(access, upstreams, caller),
    verifyHeaders: (upstream, headers) => relay.verifyHeaders(upstream, headers),
    consentGate: (request, flowId, upstreamId) => issuer.consentGate(request, flowId, upstreamId),
    grantBrowserHash: (grantId) => issuer.grantBrowserHash(grantId),
    anonymousSessionId: (value) => anonymousSessionId(ground.hash, value),
  });
  const tools = new ToolLists({
    ...ground,
    upstreams,
    probe: async (upstream, owner) => {
      // Here, so that what discovery has to say becomes the upstream's `last_failure`.
      if (obtainsOwnToken(upstream)) await oauth.prepare(upstream);
      return relay.listTools(upstream, owner);
    },
    features: (upstream, owner) => relay.listFeatures(upstream, owner),
    hasCredential: async (owner, upstreamId) =>
      (await credentialStatus(vault, owner, upstreamId)) === "active",
  });
  return {
    users,
    sessions,
    setup,
    running,
    passwords,
    apiTokens,
    upstreams,
    oauth,
    keys,
    access,
    virtualMcps,
    anonymousSessions,
    vault,
    issuer,
    connect,
    relay,
    tools,
    streams: new ClientStreams(ground),
    metrics: new Metrics({
      heldTools: () => upstreams.all().reduce((sum, { heldTools }) => sum + heldTools, 0),
    }),
  };
}

/** What is stored of an owner's credential at an upstream: its status, or undefined when there is none. */
export async function credentialStatus(
  vault: Vault,
  owner: Owner,
  upstreamId: string,
): Promise<string | undefined> {
  return (await vault.statuses(owner, [upstreamId])).get(upstreamId)?.status;
}

/** The upstreams whose names a caller who is no administrator may read. */
export async function visibleUpstreams(
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
