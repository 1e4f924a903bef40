import {
  groupGifts,
  keyConfigs,
  userAccessRoutes,
  userConfigs,
  virtualKeyRoutes,
  virtualMcpRoutes,
} from "./access/index.ts";
import { credentialStatus, type Ground, type Parts, visibleUpstreams } from "./app-parts.ts";
import { auditRoutes } from "./audit/index.ts";
import { connectionRoutes } from "./connections/index.ts";
import { frontRoutes, settingRoutes } from "./front/index.ts";
import type { Route } from "./http/index.ts";
import { identityRoutes, peopleRoutes, type Recorder } from "./identity/index.ts";
import { mcpRoutes } from "./mcp/index.ts";
import { scimRoutes } from "./scim/index.ts";
import { administratorOwner, discoveryOwner, upstreamRoutes } from "./upstreams/index.ts";

/** Every route there is; each folder's are handed the parts they answer from. */
export function routesOf(parts: Parts, ground: Ground): Route[] {
  const { settings } = ground.config;
  const record: Recorder = (tx, line) => ground.audit.append(tx, line);
  const tokens = parts.apiTokens;
  return [
    ...frontPages(parts, ground),
    ...identityRoutes({
      ...parts,
      settings,
      record,
      providers: () => parts.sso.buttons(),
      localSignIn: ground.config.sso.localSignIn,
      afterSignOut: (ended) => parts.sso.afterSignOut(ended),
    }),
    ...parts.sso.routes(),
    ...settingRoutes({ ...ground, ...parts }),
    ...auditRoutes(ground),
    ...scimRoutes({ ...ground, ...parts, settings, record, identityRule: ground.config.scimIdentity }),
    ...peopleRoutes({
      ...ground,
      ...parts,
      tokens,
      configs: userConfigs(parts),
      gifts: groupGifts({ ...ground, ...parts }),
      settings,
      record,
    }),
    ...userAccessRoutes({ ...ground, ...parts }),
    ...upstreamAdministration(parts, ground),
    ...virtualKeyRoutes({ ...ground, ...parts, settings }),
    ...virtualMcpRoutes({ ...ground, ...parts, settings }),
    ...parts.connect.routes(),
    ...connectionRoutes({ ...ground, ...parts, settings }),
    ...parts.issuer.routes,
    ...mcpRoutes({
      ...ground,
      ...parts,
      settings,
      virtualKeys: parts.keys,
      onCall: (report) => parts.metrics.recordCall(report),
    }),
  ];
}

function frontPages({ metrics, sessions, upstreams, users }: Parts, { config, database }: Ground): Route[] {
  return frontRoutes({
    settings: config.settings,
    metrics,
    ready: () => database.ready(),
    hasAdmin: () => users.hasAdmin(),
    personOf: async (request) => {
      const signedIn = await sessions.of(request);
      return signedIn && { email: signedIn.user.email, isAdmin: signedIn.user.role === "admin" };
    },
    upstreams: () =>
      upstreams.all().map(({ name, state, authType, tools, heldTools, lastFailure }) => ({
        name,
        state,
        authType,
        tools: tools.length,
        held: heldTools,
        failure: lastFailure?.message,
      })),
  });
}

function upstreamAdministration(parts: Parts, ground: Ground): Route[] {
  const { access, connect, relay, upstreams, vault } = parts;
  return upstreamRoutes({
    ...parts,
    settings: ground.config.settings,
    database: ground.database,
    audit: ground.audit,
    keyConfigs: keyConfigs({ ...ground, ...parts }),
    visible: (caller) => visibleUpstreams(access, upstreams, caller),
    startDiscoveryFlow: (upstream, options) =>
      connect.start(administratorOwner(upstream), upstream, "", options),
    dropCredential: async (tx, upstream) => {
      await vault.dropOwner(tx, administratorOwner(upstream));
    },
    demandReauth: (tx, upstreamId, reason) => vault.needsReauth(tx, upstreamId, reason),
    verifyHeaders: (upstream, headers) => relay.verifyHeaders(upstream, headers),
    keepSample: async (tx, upstream, headers) => {
      const secret = { kind: "headers" as const, headers };
      await vault.put(tx, { owner: discoveryOwner(upstream), upstreamId: upstream.id, account: "", secret });
    },
    credentialStatus: (owner, upstreamId) => credentialStatus(vault, owner, upstreamId),
  });
}
