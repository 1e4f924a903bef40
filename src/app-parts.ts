import { Access, AnonymousSessions, decide, VirtualKeys, VirtualMcps } from "./access/index.ts";
import type { Audit } from "./audit/index.ts";
import type { Clock, KeyedHash, Owner, Seal, World } from "./base/index.ts";
import type { Config } from "./config.ts";
import { Connect } from "./connect/index.ts";
import type { Database, Flows, Outbox } from "./db/index.ts";
import { Metrics, RunningSettings } from "./front/index.ts";
import { clearCookie, type RateLimits } from "./http/index.ts";
import {
  ApiTokens,
  Departed,
  Groups,
  Identities,
  JwtIdentities,
  LocalSignIn,
  Memberships,
  ownerOf,
  PasswordChanges,
  type Principal,
  ServiceAccounts,
  Sessions,
  Setup,
  Users,
} from "./identity/index.ts";
import { Issuer } from "./issuer/index.ts";
import { JwtVerifier, SpentAssertions } from "./jwt/index.ts";
import { anonymousSessionId, ClientStreams } from "./mcp/index.ts";
import { Relay } from "./relay/index.ts";
import type { SealedDatabase } from "./sealed-database.ts";
import { Sso } from "./sso/index.ts";
import { obtainsOwnToken, ToolLists, UpstreamOAuth, Upstreams } from "./upstreams/index.ts";
import { CallerTokens, Vault, type VaultParts } from "./vault/index.ts";

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
  const jwt = new JwtVerifier(ground);
  const spentAssertions = new SpentAssertions(ground);
  const users = new Users({ ...ground, settings });
  const running = new RunningSettings({ ...ground, given: ground.config.given, running: ground.config });
  const sessions = new Sessions({ ...ground, settings, users });
  const setup = new Setup({ ...ground, settings, users, sessions });
  const local = new LocalSignIn({ ...ground, settings, users });
  const passwords = new PasswordChanges({ ...ground, settings, sessions, local });
  const groups = new Groups(ground);
  const memberships = new Memberships(ground.database);
  const identities = new Identities({
    ...ground,
    users,
    groups,
    record: (tx, line) => ground.audit.append(tx, line),
  });
  const serviceAccounts = new ServiceAccounts({ ...ground, users });
  const departed = new Departed(ground);
  const sso = new Sso({
    ...ground,
    settings,
    users,
    sessions,
    identities,
    verifier: jwt,
    spent: spentAssertions,
    departed,
    record: (tx, line) => ground.audit.append(tx, line),
    sso: ground.config.sso,
  });
  const apiTokens = new ApiTokens(ground);
  const upstreams = new Upstreams({ ...ground, settings });
  const oauth = new UpstreamOAuth({ ...ground, settings });
  const keys = new VirtualKeys(ground);
  const jwts = new JwtIdentities({
    ...ground,
    verifier: jwt,
    issuers: ground.config.jwtIssuers,
    identities,
    departed,
    keyNamed: (name) => keys.named(name),
  });
  const access = new Access({ ...ground, upstreams, keys, memberships });
  const virtualMcps = new VirtualMcps({ ...ground, keys, memberships });
  const upstreamOAuth: VaultParts["oauth"] = {
    recorded: (upstream, tx) => oauth.recorded(upstream, tx),
    prepareOwn: (upstreamId) => oauth.prepare(upstreams.get(upstreamId)),
    registerAgain: async (upstreamId, version) => {
      const upstream = upstreams.find(upstreamId);
      return upstream?.oauth ? oauth.renewClient(upstream, version) : "refused";
    },
  };
  const vault = new Vault({
    ...ground,
    upstreams,
    oauth: upstreamOAuth,
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
    jwt,
    spent: spentAssertions,
    identities,
    departed,
    serviceAccounts,
    machines: ground.config.machines,
    sessionOf: async (request) => {
      const signedIn = await sessions.of(request);
      if (!signedIn) return undefined;
      const { user, method } = signedIn;
      return { userId: user.id, email: user.email, name: user.name, role: user.role, method };
    },
    signOut: async (request) => {
      await sessions.end(request);
      return clearCookie(sessions.cookieName, settings);
    },
  });
  const callerTokens = new CallerTokens({ ...ground, upstreams, oauth: upstreamOAuth });
  const relay = new Relay({
    ...ground,
    upstreams,
    vault,
    callerTokens,
    commands: ground.config.commands,
  });
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
    usableBy: (owner) => usableUpstreams(access, upstreams, { owner }),
    verifyHeaders: (upstream, headers) => relay.verifyHeaders(upstream, headers),
    consentGate: (request, flowId, upstreamId) => issuer.consentGate(request, flowId, upstreamId),
    grantBrowserHash: (grantId) => issuer.grantBrowserHash(grantId),
    anonymousSessionId: (value) => anonymousSessionId(ground.hash, value),
  });
  const tools = new ToolLists({
    ...ground,
    upstreams,
    probe: async (upstream, owner, vouched) => {
      // Here, so that what discovery has to say becomes the upstream's `last_failure`.
      if (obtainsOwnToken(upstream)) await oauth.prepare(upstream);
      return relay.listTools(upstream, owner, vouched);
    },
    features: (upstream, owner, vouched) => relay.listFeatures(upstream, owner, vouched),
    hasCredential: async (owner, upstreamId) =>
      (await credentialStatus(vault, owner, upstreamId)) === "active",
  });
  return {
    departed,
    jwt,
    jwts,
    spentAssertions,
    sso,
    users,
    sessions,
    local,
    groups,
    identities,
    setup,
    running,
    passwords,
    serviceAccounts,
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
  return usableUpstreams(access, upstreams, { owner, virtualKeyId });
}

async function usableUpstreams(
  access: Access,
  upstreams: Upstreams,
  subject: { owner: Owner; virtualKeyId?: string },
): Promise<Set<string>> {
  const rules = await access.rulesFor(subject);
  return new Set(
    upstreams
      .all()
      .filter((upstream) => decide(rules, upstream))
      .map(({ id }) => id),
  );
}
