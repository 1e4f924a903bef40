import { Hidden, type Owner } from "../base/index.ts";
import type { Db, Flow, FlowData, FlowState, Tx } from "../db/index.ts";
import { findDefault } from "./accounts.ts";
import type { NewSecret } from "./credential.ts";
import { type Binding, findRow, type VaultParts } from "./parts.ts";
import { isOther } from "./put.ts";
import { disownSecret } from "./revocation.ts";
import { secretOf } from "./secret.ts";

/** An account as a person may read it. `subject`: the provider's own id. */
export interface Account {
  subject: string;
  name?: string;
}

/** New tokens of another account than before: nothing is stored until the person has said which account counts (UP-31). */
export interface Held extends Binding {
  /** The connect link that they came by; they are stored only while it is pending. */
  linkId: string;
  before: Account;
  now: Account;
  secret: NewSecret;
}

/** What a held secret's flow says without opening it. */
export interface HeldData extends FlowData {
  before: Account;
  now: Account;
  expires_at?: number;
  scopes?: string[];
  asked_scopes?: string[];
  oauth_config_id: string;
  issuer?: string;
}

type HeldFlow = Flow<HeldData>;

/**
 * The account whose place a new secret would take, when that is another one than the provider names now. `identity`: for
 * whom a consent (owner mode `flow`) connects; what that identity has already is what would be replaced at the submit.
 */
export async function otherAccount(
  db: Db | Tx,
  binding: Binding,
  secret: NewSecret,
  identity?: Owner,
): Promise<Account | undefined> {
  const own = await findRow(db, binding);
  const theirs = identity && (await findDefault(db, { owner: identity, upstreamId: binding.upstreamId }));
  const before = theirs?.subject ? theirs : own;
  if (!before?.subject || !isOther(before.subject, secret)) return undefined;
  return { subject: before.subject, name: before.subject_name ?? undefined };
}

/** Keeps a secret, sealed and out of use, for `ttlMs`; what was held for the same link before is given up. */
export async function holdSecret(
  parts: VaultParts,
  tx: Tx,
  { secret, linkId, before, ...binding }: Omit<Held, "now"> & { browserHash: string; ttlMs: number },
): Promise<{ id: string }> {
  if (secret.kind !== "oauth" || secret.subject === undefined) throw new Error("no account to ask about");
  await releaseHeld(parts, tx, { linkId }, "replaced");
  const data: HeldData = {
    before,
    now: { subject: secret.subject, name: secret.subjectName },
    expires_at: secret.expiresAt,
    scopes: secret.scopes && [...secret.scopes],
    asked_scopes: secret.askedScopes && [...secret.askedScopes],
    oauth_config_id: secret.oauthConfigId,
    issuer: secret.issuer,
  };
  const refresh = secret.refreshToken && { refresh: secret.refreshToken.reveal() };
  const key = secret.proofKey && { proof_key: secret.proofKey.reveal() };
  return parts.flows.start(tx, {
    kind: "swap",
    ...binding,
    parentId: linkId,
    data,
    secret: { access: secret.accessToken.reveal(), ...refresh, ...key },
  });
}

/** Looks without taking; the secret stays closed. */
export async function peekHeld(parts: VaultParts, id: string): Promise<FlowState<HeldData>> {
  return parts.flows.peek<HeldData>(parts.database.db, "swap", { id });
}

/** Takes a held secret out, once; undefined when it was answered, expired or given up. */
export async function takeHeld(
  parts: VaultParts,
  tx: Tx,
  id: string,
  outcome: string,
): Promise<Held | undefined> {
  const flow = await parts.flows.take<HeldData>(tx, "swap", { id }, outcome);
  return flow && read(flow);
}

/** Gives up what is held for a link, or for all links of these: the provider is told. */
export async function releaseHeld(
  parts: VaultParts,
  tx: Tx,
  match: { linkId?: string; owner?: Owner; upstreamId?: string; account?: string },
  outcome: string,
): Promise<void> {
  const { linkId, owner, upstreamId, account } = match;
  const rows = await tx
    .selectFrom("flows")
    .select("id")
    .where("kind", "=", "swap")
    .where("ended_at", "is", null)
    .$if(linkId !== undefined, (query) => query.where("parent_id", "=", linkId!))
    .$if(upstreamId !== undefined, (query) => query.where("upstream_id", "=", upstreamId!))
    .$if(account !== undefined, (query) => query.where("account", "=", account!))
    .$if(owner !== undefined, (query) =>
      query.where("owner_mode", "=", owner!.mode).where("owner_id", "=", owner!.id),
    )
    .execute();
  for (const { id } of rows) await release(parts, tx, id, outcome);
}

/** Gives up some of what nobody answered in time, and of what hangs on a link that ended; for the sweeper. Returns how many. */
export async function releaseAbandoned(parts: VaultParts, limit: number): Promise<number> {
  const now = parts.world.now().getTime();
  const rows = await parts.database.db
    .selectFrom("flows as swap")
    .leftJoin("flows as link", "link.id", "swap.parent_id")
    .select("swap.id")
    .where("swap.kind", "=", "swap")
    .where("swap.ended_at", "is", null)
    .where((where) =>
      where.or([
        where("swap.expires_at", "<=", now),
        where("link.id", "is", null),
        where("link.ended_at", "is not", null),
      ]),
    )
    .limit(limit)
    .execute();
  for (const { id } of rows) await parts.database.transaction((tx) => release(parts, tx, id, "expired"));
  return rows.length;
}

async function release(parts: VaultParts, tx: Tx, id: string, outcome: string): Promise<void> {
  const flow = await parts.flows.drain<HeldData>(tx, "swap", id, outcome);
  if (!flow) return;
  const { owner, upstreamId, secret, now } = read(flow);
  const oauthConfigId = secret.kind === "oauth" ? secret.oauthConfigId : undefined;
  const disowned = { owner, upstreamId, oauthConfigId, secret: secretOf(secret, flow.createdAt) };
  await disownSecret(parts, tx, disowned, now.subject);
}

function read(flow: HeldFlow): Held {
  const { owner, upstreamId, account, parentId, data } = flow;
  if (!owner || upstreamId === undefined || parentId === undefined)
    throw new Error("a held secret of nobody");
  const { access, refresh, proof_key } = flow.secret();
  const secret: NewSecret = {
    kind: "oauth",
    accessToken: new Hidden(access!),
    refreshToken: refresh === undefined ? undefined : new Hidden(refresh),
    expiresAt: data.expires_at,
    scopes: data.scopes,
    askedScopes: data.asked_scopes,
    proofKey: proof_key === undefined ? undefined : new Hidden(proof_key),
    subject: data.now.subject,
    subjectName: data.now.name,
    oauthConfigId: data.oauth_config_id,
    issuer: data.issuer,
  };
  return { owner, upstreamId, account, linkId: parentId, before: data.before, now: data.now, secret };
}
