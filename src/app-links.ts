import type { Parts } from "./app-parts.ts";
import type { Owner } from "./base/index.ts";
import { authorizationMoved, sameHeaderKeys, sharedOwner, usesClientCredentials } from "./upstreams/index.ts";

/** What must follow an event, in the transaction that causes it (contract section 2, reconciliation). */
export function linkParts({
  users,
  passwords,
  upstreams,
  keys,
  access,
  virtualMcps,
  vault,
  issuer,
  tools,
}: Parts): void {
  upstreams.listeners.push({
    changed: async (tx, before, after) => {
      if (authorizationMoved(before, after)) await vault.needsReauth(tx, after.id, "configuration_changed");
      // A token of the gateway's own is obtained anew, with what counts now; nobody has to consent.
      if (usesClientCredentials(after) && before.oauthVersion !== after.oauthVersion) {
        await vault.dropOwner(tx, sharedOwner(after));
        await upstreams.recordRegained(tx, after.id);
      }
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
    switchedOff: (tx, user) => passwords.endLinks(tx, user.id),
    deleted: async (tx, user) => {
      await passwords.endLinks(tx, user.id);
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
  virtualMcps.listeners.push({
    deleted: (tx, { slug }) => issuer.revokeGrantsOf(tx, { slug }),
  });
  access.listeners.push((tx, owner, allowed) => vault.setAccess(tx, owner, allowed));
  vault.connected.push((owner, upstreamId) => tools.connected(owner, upstreamId));
}
