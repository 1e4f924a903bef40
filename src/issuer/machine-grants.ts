import { newId, newSecret, type Owner } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { likeLiteral } from "../http/index.ts";
import type { Grants } from "./grants.ts";
import type { MachineTrust, WorkloadRule } from "./machine-config.ts";
import type { IssuerParts } from "./parts.ts";
import { storePair, type TokenAnswer, tokenAnswer } from "./tokens.ts";

/** In place of a redirect URI; the issuer follows as the fragment. */
const ID_JAG_GRANT = "urn:ietf:params:oauth:grant-profile:id-jag#";

export function idJagOrigin(issuer: string): string {
  return ID_JAG_GRANT + issuer;
}

export interface MachineGrant {
  clientRowId: string;
  clientName: string;
  owner: Owner;
  virtualKeyId?: string;
  /** Which grant it was, in place of a redirect URI. */
  origin: string;
  resource: string;
  /** Milliseconds. */
  lifetimeMs: number;
  requestId: string;
  /** For the audit line: issuer, subject, rule. */
  detail: Record<string, unknown>;
}

type Parts = Pick<IssuerParts, "world" | "database" | "hash" | "settings" | "audit">;

/** A grant that nobody consents to: it is there at once, has one access token and no refresh token, and ends with it. */
export async function grantToMachine(
  parts: Parts,
  grants: Grants,
  tx: Tx,
  given: MachineGrant,
): Promise<TokenAnswer> {
  const { clientRowId, clientName, owner, virtualKeyId, origin, resource } = given;
  const id = newId(parts.world, "grant");
  const now = parts.world.now().getTime();
  const endsAt = now + Math.min(given.lifetimeMs, parts.settings.accessTokenMs);
  const scope = "mcp";
  const grant = await grants.createActive(
    tx,
    { id, clientRowId, clientName, owner, virtualKeyId, redirectUri: origin, scope, resource },
    endsAt,
  );
  const pair = { access: newSecret(parts.world, "pst_"), expiresAt: endsAt };
  await storePair(parts, tx, grant, pair);
  await parts.audit.append(tx, {
    event: "grant.created",
    actor: `${owner.mode}:${owner.id}`,
    owner,
    requestId: given.requestId,
    detail: { grant_id: id, client: clientName, redirect_uri: origin, ...given.detail },
  });
  return tokenAnswer(pair, scope, now);
}

/** The row that the grants of a rule hang on; no `client_id` on the wire ever finds it. Returns its id. */
export async function recordRule(
  { world, hash }: Pick<IssuerParts, "world" | "hash">,
  tx: Tx,
  rule: WorkloadRule,
): Promise<string> {
  const { id } = await tx
    .insertInto("clients")
    .values({
      id: newId(world, "client"),
      kind: "workload",
      client_id_hash: ruleHash(hash, rule),
      name: rule.name,
      redirect_uris_json: "[]",
      secret_hash: null,
      created_at: world.now().getTime(),
    })
    .onConflict((conflict) => conflict.column("client_id_hash").doUpdateSet({ name: rule.name }))
    .returning("id")
    .executeTakeFirstOrThrow();
  return id;
}

function ruleHash(hash: IssuerParts["hash"], rule: WorkloadRule): string {
  return hash.of("workload_rule", rule.fingerprint);
}

/**
 * For the start: what rules and issuers gave that the file does not have any more, or has otherwise, ends now. Returns how
 * many grants that were.
 */
export async function endUntrusted(
  parts: Pick<IssuerParts, "database" | "hash">,
  grants: Grants,
  trust: MachineTrust,
): Promise<number> {
  const rules = new Set(trust.rules.map((rule) => ruleHash(parts.hash, rule)));
  const issuers = new Set(trust.issuers.map(({ trusted }) => idJagOrigin(trusted.issuer)));
  return parts.database.transaction(async (tx) => {
    const clients = await tx
      .selectFrom("clients")
      .select(["id", "client_id_hash"])
      .where("kind", "=", "workload")
      .execute();
    const gone = clients.filter((client) => !rules.has(client.client_id_hash));
    let ended = 0;
    for (const { id } of gone) ended += await grants.endAllOf(tx, { clientRowId: id }, BY_START);
    const given = await tx
      .selectFrom("grants")
      .select(["id", "redirect_uri"])
      .where("redirect_uri", "like", `${likeLiteral(ID_JAG_GRANT)}%`)
      .execute();
    for (const { id, redirect_uri: origin } of given) {
      if (!issuers.has(origin) && (await grants.end(tx, id, BY_START))) ended += 1;
    }
    return ended;
  });
}

const BY_START = { event: "grant.revoked", actor: "system" } as const;
