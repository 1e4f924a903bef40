import { z } from "zod";
import { accountLabel, type Owner, Problem } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { json, type Route } from "../http/index.ts";
import { actorOf, ownerOf, type Principal, route } from "../identity/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { reauthAnswer, shownSession } from "./answers.ts";
import type { Connect, Started } from "./connect.ts";
import { type ConnectParts, kindOf } from "./parts.ts";
import { getSession, refuseOthers, unknownSession } from "./session-routes.ts";
import { sessionView, startedView } from "./session-view.ts";

const tag = "MCP sessions";
const wrongLabel = "The label of an account has 1 to 40 lower-case letters, digits, hyphens and underscores.";
export const label = z.string().regex(accountLabel, { error: wrongLabel });
/** More than anybody keeps; a caller who makes labels up must not fill the tables. */
const MOST_ACCOUNTS = 20;

/** Several accounts of one upstream: another one is connected, a label changed, the default chosen. */
export function accountRoutes(parts: ConnectParts, connect: Connect): Route[] {
  return [connectRoute(parts, connect), changeRoute(parts)];
}

function connectRoute(parts: ConnectParts, connect: Connect): Route {
  return route({
    method: "POST",
    path: "/api/mcp/sessions",
    operationId: "connectMcpSession",
    summary: "A link to connect an account, or another one, for oneself",
    tag,
    access: "management",
    csrf: "session",
    rate: "api",
    errors: "envelope",
    json: z.strictObject({ mcp_client_id: z.string().min(1).max(200), account: label.optional() }),
    refuses: [400, 403, 404, 409],
    answers: { 200: { description: "Where the person goes", schema: reauthAnswer } },
    handle: async ({ body, caller, requestId }) => {
      const owner = ownIdentity(caller);
      const upstream = getUsable(parts, body.mcp_client_id, await parts.visible(caller));
      const { account } = body;
      const by = actorOf(caller);
      return json(
        startedView(await startAccount(parts, connect, { owner, upstream, account, by, requestId })),
      );
    },
  });
}

export interface NewAccount {
  owner: Owner;
  upstream: Upstream;
  /** Its label; without one it is the first. */
  account: string | undefined;
  by: string;
  requestId: string;
  /** Where the person goes when it is done: a path of ours. */
  returnTo?: string;
}

/** Makes the link behind which an account is connected that is not there yet. Throws 409 `account_exists`. */
export async function startAccount(
  parts: ConnectParts,
  connect: Connect,
  { owner, upstream, account, by, requestId, returnTo }: NewAccount,
): Promise<Started> {
  // An account that is connected between this look and the link is asked about again when the person comes back.
  const unless = (tx: Tx) => refuseTaken(parts, tx, { owner, upstreamId: upstream.id }, account);
  const started = await connect.start(owner, upstream, account ?? "", {
    replace: true,
    by,
    unless,
    returnTo,
  });
  await parts.audit.append(undefined, {
    event: "session.connect_started",
    actor: by,
    owner,
    upstreamId: upstream.id,
    requestId,
    detail: { flow_id: started.flowId, account },
  });
  return started;
}

function changeRoute(parts: ConnectParts): Route {
  return route({
    method: "PUT",
    path: "/api/mcp/sessions/{id}",
    operationId: "updateMcpSession",
    summary: "Give an account another label, or make it the default",
    tag,
    access: "management",
    csrf: "session",
    rate: "api",
    errors: "envelope",
    params: z.object({ id: z.string().min(1).max(200) }),
    json: z
      .strictObject({
        account: label.optional(),
        is_default: z
          .literal(true, {
            error: "One account is always the default; make another one the default instead.",
          })
          .optional(),
      })
      .refine((body) => body.account !== undefined || body.is_default !== undefined, {
        error: "Send account, is_default, or both.",
      }),
    refuses: [400, 403, 404, 409],
    answers: { 200: { description: "The row as it is now", schema: shownSession } },
    handle: async ({ params, body, caller, requestId }) => {
      const row = await getSession(parts, params.id, caller);
      if (row.kind === "flow") throw unknownSession();
      const owner: Owner = { mode: row.owner_mode, id: row.owner_id };
      refuseOthers(row, caller);
      const { account, is_default: isDefault } = body;
      await parts.database.transaction(async (tx) => {
        const outcome = await parts.vault.changeAccount(tx, row.id, { account, isDefault });
        if (outcome === "gone") throw unknownSession();
        if (outcome === "label_taken") throw taken(account);
        await parts.audit.append(tx, {
          event: "session.changed",
          actor: actorOf(caller),
          owner,
          upstreamId: row.upstream_id,
          requestId,
          detail: { session_id: row.id, account, is_default: isDefault, account_before: row.account },
        });
      });
      return json(sessionView(await getSession(parts, row.id, caller), caller));
    },
  });
}

/** Throws 400 for what is no label, and 409 for one more than anybody keeps; open links count as well. */
export async function checkLabel(
  parts: Pick<ConnectParts, "database" | "vault" | "world">,
  { owner, upstreamId }: { owner: Owner; upstreamId: string },
  account: string,
): Promise<void> {
  if (!accountLabel.test(account))
    throw new Problem("invalid", "invalid_account", wrongLabel, { param: "account" });
  const { db } = parts.database;
  const links = await db
    .selectFrom("flows")
    .select("account")
    .where("kind", "=", "connect")
    .where("owner_mode", "=", owner.mode)
    .where("owner_id", "=", owner.id)
    .where("upstream_id", "=", upstreamId)
    .where("ended_at", "is", null)
    .where("expires_at", ">", parts.world.now().getTime())
    .execute();
  const known = new Set([
    ...(await parts.vault.labels(db, owner, upstreamId)),
    ...links.map((link) => link.account),
  ]);
  if (known.has(account) || known.size < MOST_ACCOUNTS) return;
  throw new Problem(
    "conflict",
    "too_many_accounts",
    `There are ${MOST_ACCOUNTS} accounts or open links of this service already. Delete one first.`,
    { param: "account" },
  );
}

/** Contract section 1: an administrator's token is nobody who could have an account. */
export function ownIdentity(caller: Principal): Owner {
  const owner = ownerOf(caller);
  if (owner) return owner;
  throw new Problem(
    "forbidden",
    "own_identity_required",
    "Accounts are connected for oneself: sign in, or send your virtual key.",
  );
}

/** What takes accounts of single people and is among those that may be used; 404 for everything else. */
export function getUsable(
  parts: Pick<ConnectParts, "upstreams">,
  id: string,
  allowed: ReadonlySet<string>,
): Upstream {
  const upstream = parts.upstreams.find(id);
  const usable = upstream && !upstream.disabled && allowed.has(id);
  if (usable && upstream.perUser && kindOf(upstream) !== undefined) return upstream;
  throw new Problem("not_found", "upstream_not_found", "There is no such service to connect here.", {
    param: "mcp_client_id",
  });
}

/** What is connected already is re-authenticated, not connected again. */
async function refuseTaken(
  parts: ConnectParts,
  tx: Tx,
  { owner, upstreamId }: { owner: Owner; upstreamId: string },
  account: string | undefined,
): Promise<void> {
  const labels = await parts.vault.labels(tx, owner, upstreamId);
  if (account === undefined ? labels.length > 0 : labels.includes(account)) throw taken(account);
}

function taken(account: string | undefined): Problem {
  return new Problem(
    "conflict",
    "account_exists",
    account === undefined
      ? "An account of this service is connected already. Name the other one with account, or re-authenticate this one."
      : "You have an account with this label there. Choose another label, or re-authenticate that one.",
    { param: "account" },
  );
}
