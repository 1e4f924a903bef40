import type { UpstreamAuthorization } from "../upstreams/index.ts";
import type { Link } from "./links.ts";
import type { ConnectParts } from "./parts.ts";

/**
 * What a consent asks for: what the upstream is connected with by everybody, and what it wanted of this person's credential
 * since (MCP "Step-Up Authorization Flow"). In a consent for an app the identity's credential counts.
 */
export async function scopesFor(
  parts: Pick<ConnectParts, "database" | "vault">,
  link: Link,
  { scopes }: Pick<UpstreamAuthorization, "scopes">,
): Promise<string[]> {
  return [...new Set([...scopes, ...(await wantedBy(parts, link))])];
}

/** The scopes that this consent asks for beyond those of the credential that there is; for its person to read. */
export async function newScopes(
  parts: Pick<ConnectParts, "database" | "vault">,
  link: Link,
): Promise<string[]> {
  const held = await heldBy(parts, link);
  const asked = held?.askedScopes ?? held?.scopes ?? [];
  return (held?.wantedScopes ?? []).filter((scope) => !asked.includes(scope));
}

async function wantedBy(
  parts: Pick<ConnectParts, "database" | "vault">,
  link: Link,
): Promise<readonly string[]> {
  return (await heldBy(parts, link))?.wantedScopes ?? [];
}

async function heldBy({ database, vault }: Pick<ConnectParts, "database" | "vault">, link: Link) {
  const { upstreamId, data } = link;
  const owner = data.identity ?? link.owner;
  const account = data.identity ? await vault.defaultAccount(database.db, owner, upstreamId) : link.account;
  return account === undefined ? undefined : vault.find(owner, upstreamId, account);
}
