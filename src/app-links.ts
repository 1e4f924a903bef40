import type { Ground, Parts } from "./app-parts.ts";
import type { Audit } from "./audit/index.ts";
import type { Owner } from "./base/index.ts";
import {
  authorizationMoved,
  obtainsOwnToken,
  sameHeaderKeys,
  sharedOwner,
  shownChanges,
  type UpstreamListener,
} from "./upstreams/index.ts";

/** What must follow an event, in the transaction that causes it (contract section 2, reconciliation). */
export function linkParts(
  {
    departed,
    users,
    groups,
    passwords,
    serviceAccounts,
    running,
    upstreams,
    keys,
    access,
    virtualMcps,
    vault,
    issuer,
    tools,
  }: Parts,
  { audit, flows }: Pick<Ground, "audit" | "flows">,
): void {
  running.listeners.push(async (changed) => {
    if (changed.includes("client.mcp_tool_pins"))
      await upstreams.pins.relistAll(upstreams.all().map(({ id }) => id));
  });
  upstreams.listeners.push({ toolsChanged: (tx, upstream, news) => auditTools(audit, tx, upstream, news) });
  upstreams.listeners.push({
    changed: async (tx, before, after) => {
      if (authorizationMoved(before, after)) await vault.needsReauth(tx, after.id, "configuration_changed");
      // A token of the gateway's own is obtained anew, with what counts now; nobody has to consent.
      if (obtainsOwnToken(after) && before.oauthVersion !== after.oauthVersion) {
        await vault.dropOwner(tx, sharedOwner(after));
        await upstreams.recordRegained(tx, after.id);
      }
      if (before.oauthVersion !== after.oauthVersion) await vault.clientChanged(tx, after.id);
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
      await departed.note(tx, user.id);
      await serviceAccounts.release(tx, user.id);
      const owner: Owner = { mode: "user", id: user.id };
      await issuer.revokeGrantsOf(tx, { owner });
      await vault.dropOwner(tx, owner);
      await flows.end(tx, { owner }, "revoked");
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
  access.listeners.push((tx, changes) => vault.setAccessOf(tx, changes));
  groups.listeners.push((tx, userIds) => access.usersChanged(tx, userIds));
  vault.connected.push((owner, upstreamId) => tools.connected(owner, upstreamId));
}

/** What nobody decided: changes that are held from now on, and those that a policy or a name let through. */
async function auditTools(
  audit: Audit,
  ...[tx, upstream, news]: Parameters<NonNullable<UpstreamListener["toolsChanged"]>>
): Promise<void> {
  const { id: upstreamId, name } = upstream;
  for (const [event, changes] of [
    ["tool.change_held", news.held],
    ["tool.change_followed", news.followed],
  ] as const) {
    if (changes.length === 0) continue;
    const detail = { name, ...shownChanges(changes) };
    await audit.append(tx, { event, actor: "system", upstreamId, detail });
  }
}
