import type { Tx } from "../db/index.ts";
import { actorOf } from "../identity/index.ts";
import type { Asking, IdentityRule, ScimParts } from "./parts.ts";
import type { UserRow } from "./user-view.ts";

/**
 * By the rule of the configuration the account and whoever signs in with this name at the provider are one person. An account that is
 * an administrator by itself is left alone: who may write names would otherwise become it. A name
 * that is not the account's any more is unlinked, with the sessions it opened. Throws 409 `identity_taken`.
 */
export async function linkIdentity(
  { identities, identityRule: rule }: Pick<ScimParts, "identities" | "identityRule">,
  tx: Tx,
  { before, after }: { before?: UserRow; after: UserRow },
  { caller, requestId }: Asking,
): Promise<void> {
  if (!rule || (after.own_role ?? after.role) === "admin") return;
  const [old, now] = [before && subjectOf(rule, before), subjectOf(rule, after)];
  const { provider, issuer } = rule;
  if (now !== undefined)
    await identities.link(
      tx,
      after.id,
      { provider, issuer, subject: now, email: after.email },
      { requestId },
    );
  // Also where the new name was linked before: the old one may be somebody else's next.
  const gone = old !== undefined && old !== now ? await identities.list(after.id, tx) : [];
  for (const identity of gone.filter((one) => one.issuer === issuer && one.subject === old)) {
    const how = { usable: [], local: false, sparesLast: false, requestId, actor: actorOf(caller) };
    await identities.unlink(tx, { userId: after.id, id: identity.id }, how);
  }
}

/** As the client wrote it: subjects have case. */
function subjectOf({ attribute }: IdentityRule, row: UserRow): string | undefined {
  if (attribute === "externalId") return row.external_id ?? undefined;
  const { userName } = JSON.parse(row.scim_json ?? "{}") as { userName?: string };
  return userName;
}
