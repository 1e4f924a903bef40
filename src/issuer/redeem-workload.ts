import { type Log, type Owner, Problem } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { ownNamesForWorkloads, type Presented, refusedAssertion, short } from "./assertion.ts";
import { JWT_BEARER_GRANT } from "./grant-names.ts";
import type { Grants } from "./grants.ts";
import { holdEnabled } from "./identity-standing.ts";
import type { WorkloadRule } from "./machine-config.ts";
import { grantToMachine, recordRule } from "./machine-grants.ts";
import type { IssuerParts } from "./parts.ts";
import { mcpResource, ownResource } from "./resource.ts";
import type { TokenAnswer } from "./tokens.ts";
import { matchRule, own } from "./workload-rules.ts";

export interface WorkloadPresentation {
  presented: Presented;
  resource?: string;
  requestId: string;
  log: Log;
}

type Parts = Pick<
  IssuerParts,
  "world" | "database" | "hash" | "settings" | "audit" | "jwt" | "spent" | "serviceAccounts" | "machines"
>;

type Subject = { owner: Owner; virtualKeyId?: string };

/**
 * A workload's own token, of a CI or a cluster, for one of ours (RFC 7523 §2.1, RFC 8693, SEP-1933): the first rule that its
 * claims fit says as whom. It may come again until it expires, unless the rule says otherwise: RFC 7523 §3 point 7 leaves that open,
 * and clusters hand one token to many processes.
 */
export async function redeemWorkload(
  parts: Parts,
  grants: Grants,
  { presented, resource, requestId, log }: WorkloadPresentation,
): Promise<TokenAnswer> {
  const rule = await provedRule(parts, presented, log);
  const wanted = resourceOf(parts, rule, resource);
  const { iss, sub, jti, exp } = presented.claims;
  const detail = { issuer: short(iss), subject: short(sub), rule: rule.name };
  const refuse = (reason: string) => refusedAssertion(log, reason, presented, { rule: rule.name });
  return parts.database.transaction(async (tx) => {
    if (rule.singleUse) {
      if (typeof jti !== "string") throw refuse("no_jti");
      const until = Number(exp) * 1000 + rule.trusted.clockSkewMs;
      if (!(await parts.spent.spend(tx, rule.trusted.issuer, jti, until))) throw refuse("replayed");
    }
    const subject = await subjectOf(parts, tx, rule);
    if (!subject || !(await holdEnabled(tx, subject, parts.world.now().getTime())))
      throw refuse("identity_unknown_or_disabled");
    return grantToMachine(parts, grants, tx, {
      ...subject,
      clientRowId: await recordRule(parts, tx, rule),
      clientName: `${rule.name}: ${short(sub) ?? ""}`,
      origin: JWT_BEARER_GRANT,
      resource: wanted,
      lifetimeMs: rule.lifetimeMs,
      requestId,
      detail,
    });
  });
}

/** Claims are compared first, because that costs nothing; they count only once the issuer's signature is proved. */
async function provedRule(parts: Parts, presented: Presented, log: Log): Promise<WorkloadRule> {
  // Also a token for something else that happens to name us (RFC 8725 §3.11); an ID-JAG never gets here.
  if (presented.type !== undefined && presented.type !== "jwt")
    throw refusedAssertion(log, "type", presented);
  const matched = matchRule(parts.machines.rules, presented.claims);
  const rule = "rule" in matched ? matched.rule : matched.nearest;
  if (!rule) throw refusedAssertion(log, "issuer", presented);
  const audience = rule.audiences ?? ownNamesForWorkloads(parts.settings);
  const verdict = await parts.jwt.verify(rule.trusted, presented.assertion, { audience });
  if (!verdict.ok) throw refusedAssertion(log, verdict.reason, presented, { rule: rule.name });
  if ("rule" in matched) return rule;
  const { claim = "" } = matched;
  const fields = { nearest_rule: rule.name, claim, value: short(own(presented.claims, claim)) };
  throw refusedAssertion(log, "no_rule", presented, fields);
}

function resourceOf(
  { settings }: Pick<Parts, "settings">,
  { virtualMcp }: WorkloadRule,
  asked: string | undefined,
): string {
  const only = virtualMcp === undefined ? undefined : mcpResource(settings, virtualMcp);
  const wanted = asked === undefined ? (only ?? mcpResource(settings)) : ownResource(asked, settings);
  if (wanted !== undefined && (only === undefined || only === wanted)) return wanted;
  throw new Problem(
    "invalid",
    "invalid_target",
    only === undefined
      ? "resource must be the address of the MCP endpoint."
      : `This workload may use ${only} and nothing else.`,
    { param: "resource" },
  );
}

/** Undefined: nobody has the name that the rule says. */
async function subjectOf(
  { serviceAccounts }: Pick<Parts, "serviceAccounts">,
  tx: Tx,
  { identity }: WorkloadRule,
): Promise<Subject | undefined> {
  if ("serviceAccount" in identity) {
    const account = await serviceAccounts.findByName(identity.serviceAccount, tx);
    return account && { owner: { mode: "user", id: account.id } };
  }
  const key = await tx
    .selectFrom("virtual_keys")
    .select(["id", "user_id"])
    .where("name", "=", identity.virtualKey)
    .executeTakeFirst();
  if (!key) return undefined;
  // Contract section 1: a key that belongs to a user acts as that user.
  const owner: Owner = key.user_id ? { mode: "user", id: key.user_id } : { mode: "vk", id: key.id };
  return { owner, virtualKeyId: key.id };
}
