import { type Log, Problem } from "../base/index.ts";
import type { User } from "../identity/index.ts";
import { ID_JAG_TYPE, ownNames, type Presented, refusedAssertion, short } from "./assertion.ts";
import { type ProvedClient, unknownClient } from "./client-authentication.ts";
import type { Clients } from "./clients.ts";
import type { Grants } from "./grants.ts";
import { holdEnabled } from "./identity-standing.ts";
import type { EnterpriseIssuer } from "./machine-config.ts";
import { grantToMachine, idJagOrigin } from "./machine-grants.ts";
import type { IssuerParts } from "./parts.ts";
import { ownResource } from "./resource.ts";
import { scopesSupported } from "./scope.ts";
import type { TokenAnswer } from "./tokens.ts";
import { own } from "./workload-rules.ts";

export interface IdJagPresentation {
  client: ProvedClient;
  presented: Presented;
  resource?: string;
  requestId: string;
  log: Log;
}

type Parts = Pick<
  IssuerParts,
  | "world"
  | "database"
  | "hash"
  | "settings"
  | "audit"
  | "jwt"
  | "spent"
  | "identities"
  | "departed"
  | "machines"
>;

/** EMA §7.4.2: they are short-lived, whatever `exp` says. */
const MAX_AGE_MS = 10 * 60_000;
const REQUIRED = ["jti", "iat", "sub", "client_id", "resource"];

/**
 * Access that a company's identity provider grants in a person's name (Enterprise-Managed Authorization §5, §7; mcp-protocol.md
 * §2.4): each ID-JAG counts once, for one client and one address of ours. No refresh token: the provider decides anew each time.
 */
export async function redeemIdJag(
  parts: Parts,
  clients: Clients,
  grants: Grants,
  { client, presented, resource, requestId, log }: IdJagPresentation,
): Promise<TokenAnswer> {
  const refuse = (reason: string) => refusedAssertion(log, reason, presented, { client: short(client.id) });
  const issuer = parts.machines.issuers.find(({ trusted }) => trusted.issuer === presented.claims.iss);
  if (!issuer) throw refuse("issuer");
  requireAllowed(issuer, client, log);
  const audience = ownNames(parts.settings);
  const verdict = await parts.jwt.verify(issuer.trusted, presented.assertion, {
    audience,
    type: ID_JAG_TYPE,
    maxAgeMs: MAX_AGE_MS,
    require: REQUIRED,
  });
  if (!verdict.ok) throw refuse(verdict.reason);
  const granted = grantedBy(parts, verdict.claims, client, resource, refuse);
  const known = await clients.find(client.id);
  if (!known) throw unknownClient();
  const person = personOf(issuer, verdict.claims);
  if (!person) throw refuse("no_subject");
  return parts.database
    .transaction(async (tx) => {
      const until = Number(verdict.claims.exp) * 1000 + issuer.trusted.clockSkewMs;
      const jti = String(verdict.claims.jti);
      if (!(await parts.spent.spend(tx, issuer.trusted.issuer, jti, until))) throw refuse("replayed");
      // Who was deleted does not come back by what was said of them before (attack ID-28).
      const issuedAt = Number(verdict.claims.iat) * 1000;
      const create = async () =>
        issuer.createAccounts && !(await parts.departed.since(tx, person.issuer, person.subject, issuedAt));
      const user: User = await parts.identities.admit(tx, person, { create, requestId });
      const owner = { mode: "user" as const, id: user.id };
      if (!(await holdEnabled(tx, { owner }, parts.world.now().getTime()))) throw refuse("account_disabled");
      const clientRowId = await clients.record(tx, known);
      if (clientRowId === undefined) throw unknownClient();
      return grantToMachine(parts, grants, tx, {
        clientRowId,
        clientName: known.name,
        owner,
        origin: idJagOrigin(issuer.trusted.issuer),
        resource: granted,
        lifetimeMs: issuer.lifetimeMs,
        requestId,
        detail: { issuer: issuer.trusted.issuer, subject: short(person.subject) },
      });
    })
    .catch((error: unknown) => {
      // No account, or one that is switched off: whoever holds the assertion is not told which.
      const isPerson = error instanceof Problem && ["forbidden", "conflict"].includes(error.kind);
      throw isPerson ? refuse(error.code) : error;
    });
}

/** The draft's §8.1: confidential clients, or those the operator named. */
function requireAllowed({ clientIds }: EnterpriseIssuer, client: ProvedClient, log: Log): void {
  const isAllowed = clientIds ? clientIds.includes(client.id) : Boolean(client.row?.secret_hash);
  if (isAllowed) return;
  log.info("assertion.refused", { reason: "client", client: short(client.id) });
  throw new Problem(
    "invalid",
    "unauthorized_client",
    "This client may not bring identity assertions. Use one with a secret, or the authorization code grant.",
  );
}

/** The address of ours that it is for (EMA §7.6.2). */
function grantedBy(
  { settings }: Pick<Parts, "settings">,
  claims: Record<string, unknown>,
  client: ProvedClient,
  asked: string | undefined,
  refuse: (reason: string) => Problem,
): string {
  if (claims.client_id !== client.id) throw refuse("client_id");
  const named = [claims.resource].flat();
  const resource =
    named.length === 1 && typeof named[0] === "string" ? ownResource(named[0], settings) : undefined;
  if (resource === undefined) throw refuse("resource");
  if (!scopeFits(claims.scope, settings)) throw refuse("scope");
  if (asked === undefined || ownResource(asked, settings) === resource) return resource;
  throw new Problem("invalid", "invalid_target", "resource is not the one that was granted.", {
    param: "resource",
  });
}

/** Scopes that are none of ours are somebody else's grant (EMA §7.6.2); without any it is the whole of it. */
function scopeFits(scope: unknown, settings: Parts["settings"]): boolean {
  if (scope === undefined) return true;
  if (typeof scope !== "string") return false;
  const words = scope.split(" ").filter((word) => word !== "");
  const ours = scopesSupported(settings);
  return words.includes("mcp") && words.every((word) => ours.includes(word));
}

function personOf({ trusted, subjectClaim }: EnterpriseIssuer, claims: Record<string, unknown>) {
  const subject = own(claims as never, subjectClaim);
  if (typeof subject !== "string" || subject === "") return undefined;
  const { email, email_verified: verified, name } = claims;
  return {
    provider: `jwt:${trusted.issuer}`,
    issuer: trusted.issuer,
    subject,
    email: typeof email === "string" && verified !== false ? email : undefined,
    name: typeof name === "string" ? name : undefined,
  };
}
