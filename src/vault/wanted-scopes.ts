import type { Credential } from "./credential.ts";
import { findById, type VaultParts } from "./parts.ts";
import { listOf } from "./secret.ts";

/** Of one credential; nobody reads longer lists on a consent page. */
const MOST_WANTED = 100;

/**
 * `asked`: the person is asked for them at the next consent. `exhausted`: they were asked for already, and the provider or the
 * upstream says no all the same; asking again would be a loop. `changed`: the credential is another one by now.
 */
export type Wanted = "asked" | "exhausted" | "changed";

/**
 * The upstream refused a call because this credential lacks scopes (RFC 6750 §3.1 `insufficient_scope`). The credential stays
 * usable for everything else; what is wanted stands beside it until its person consents (UP-21).
 */
export async function wantScopes(
  parts: VaultParts,
  credential: Credential,
  challenged: readonly string[],
): Promise<Wanted> {
  return parts.database.transaction(async (tx) => {
    const row = await findById(tx, credential.id);
    if (row?.generation !== credential.generation) return "changed";
    const asked =
      listOf(row.asked_scopes_json) ??
      (await parts.oauth.recorded({ id: credential.upstreamId }, tx))?.scopes ??
      [];
    if (challenged.every((scope) => asked.includes(scope))) return "exhausted";
    const before = listOf(row.wanted_scopes_json) ?? [];
    // MCP "Scope Challenge Handling": the union of what was asked for and what is wanted now.
    const wanted = [...new Set([...asked, ...before, ...challenged])];
    if (wanted.length > MOST_WANTED) return "exhausted";
    if (wanted.length === before.length) return "asked";
    await tx
      .updateTable("credentials")
      .set({ wanted_scopes_json: JSON.stringify(wanted) })
      .where("id", "=", row.id)
      .execute();
    const { owner, upstreamId } = credential;
    const detail = { credential_id: row.id, scopes: challenged.join(" ") };
    await parts.audit.append(tx, {
      event: "credential.scopes_wanted",
      actor: "system",
      owner,
      upstreamId,
      detail,
    });
    return "asked";
  });
}
