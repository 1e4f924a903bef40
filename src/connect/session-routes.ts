import { z } from "zod";
import { type Owner, Problem } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { commaList, json, noContent, pageAnswer, pageQuery, type Route } from "../http/index.ts";
import { actorOf, isAdmin, ownerOf, type Principal, personOf, route } from "../identity/index.ts";
import { findSession, listSessions, type SessionRow, type SessionScope } from "../vault/index.ts";
import { reauthAnswer, shownSession } from "./answers.ts";
import type { Connect, Started } from "./connect.ts";
import { holdBinding } from "./links.ts";
import type { ConnectParts } from "./parts.ts";
import { mayReauth, sessionView, startedView } from "./session-view.ts";

const tag = "MCP sessions";
const params = z.object({ id: z.string().min(1).max(200) });
const ids = z
  .string()
  .max(4000)
  .transform((text) => text.split(",").filter((id) => id !== ""))
  .optional();

/** Contract section 2. */
export function sessionRoutes(parts: ConnectParts, connect: Connect): Route[] {
  return [listRoute(parts), reauthRoute(parts, connect), deleteRoute(parts)];
}

function listRoute(parts: ConnectParts): Route {
  return route({
    method: "GET",
    path: "/api/mcp/sessions",
    operationId: "listMcpSessions",
    summary: "Credentials and pending connect links",
    tag,
    access: "management",
    csrf: "none",
    rate: "api",
    errors: "envelope",
    query: z.strictObject({
      q: z.string().max(200).optional(),
      identity: ids,
      status: commaList(["active", "needs_reauth", "needs_update", "orphaned", "pending"]),
      auth_mode: commaList(["user", "vk", "session"]),
      mcp_client_id: ids,
      kind: commaList(["token", "header", "flow"]),
      ...pageQuery({ max: 500, default: 50 }),
    }),
    refuses: [],
    answers: { 200: { description: "Rows, newest first", schema: pageAnswer("sessions", shownSession) } },
    handle: async ({ query: { limit, offset, ...filter }, caller }) => {
      const now = parts.world.now().getTime();
      const { rows, total } = await listSessions(
        parts.database.db,
        scopeOf(caller),
        filter,
        { limit, offset },
        now,
      );
      const sessions = rows.map((row) => sessionView(row, caller));
      return json({ sessions, count: sessions.length, total_count: total, limit, offset });
    },
  });
}

function reauthRoute(parts: ConnectParts, connect: Connect): Route {
  return route({
    method: "POST",
    path: "/api/mcp/sessions/{id}/reauth",
    operationId: "reauthMcpSession",
    summary: "A fresh link for the same upstream and the same identity",
    tag,
    access: "management",
    csrf: "session",
    rate: "api",
    errors: "envelope",
    params,
    refuses: [403, 409],
    answers: {
      200: { description: "Where the person goes", schema: reauthAnswer },
      403: { description: "Orphaned, or not the caller's own" },
    },
    handle: async ({ params, caller, requestId }) =>
      json(startedView(await startReauth(parts, connect, { id: params.id, caller, requestId }))),
  });
}

export interface Reauth {
  /** Of the row. */
  id: string;
  caller: Principal;
  requestId: string;
  /** Where the person goes when it is done: a path of ours. */
  returnTo?: string;
}

/** A fresh link for the binding of a row of the list. Throws 403, 404. */
export async function startReauth(
  parts: ConnectParts,
  connect: Connect,
  { id, caller, requestId, returnTo }: Reauth,
): Promise<Started> {
  const row = await getSession(parts, id, caller);
  const owner: Owner = { mode: row.owner_mode, id: row.owner_id };
  const upstream = parts.upstreams.find(row.upstream_id);
  if (row.kind === "flow" || !upstream) throw unknownSession();
  refuseReauth(row, caller);
  const by = actorOf(caller);
  // A delete that comes between the look above and the link must not find it made afterwards.
  const unless = async (tx: Tx) => {
    if ((await parts.vault.generationOf(tx, owner, upstream.id, row.account)) === 0) throw unknownSession();
  };
  const started = await connect.start(owner, upstream, row.account, {
    replace: true,
    by,
    unless,
    returnTo,
    // Contract section 6: only here, never in an MCP answer, and never for a person's own login.
    withToken: parts.settings.tempTokenAuth && (owner.mode === "vk" || owner.mode === "session"),
  });
  await parts.audit.append(undefined, {
    event: "session.reauth_started",
    actor: by,
    owner,
    upstreamId: upstream.id,
    requestId,
    detail: { session_id: row.id, flow_id: started.flowId },
  });
  return started;
}

/** Contract section 2: a `user` row is its person's, and an administrator has no hand in it. */
export function refuseOthers(row: SessionRow, caller: Principal): void {
  if (mayReauth(row, caller)) return;
  throw new Problem(
    "forbidden",
    "session_of_another_user",
    "Only the person whose session this is can change or re-authenticate it.",
  );
}

function refuseReauth(row: SessionRow, caller: Principal): void {
  refuseOthers(row, caller);
  if (row.status === "orphaned") {
    throw new Problem(
      "forbidden",
      "access_lost",
      "This identity may not use the service any more. Ask an administrator to restore access; then it works again by itself.",
    );
  }
}

function deleteRoute(parts: ConnectParts): Route {
  return route({
    method: "DELETE",
    path: "/api/mcp/sessions/{id}",
    operationId: "deleteMcpSession",
    summary: "Delete a credential and every pending link of its binding",
    tag,
    access: "management",
    csrf: "session",
    rate: "api",
    errors: "envelope",
    params,
    refuses: [],
    answers: { 204: { description: "Gone here at once; the provider is told when it can be" } },
    handle: async ({ params, caller, requestId }) => {
      const row = await getSession(parts, params.id, caller);
      return deleteSession(parts, row, caller, requestId);
    },
  });
}

/** Deletes a row of the list, whatever its kind; 404 when somebody else was faster. */
export async function deleteSession(
  parts: ConnectParts,
  row: SessionRow,
  caller: Principal,
  requestId: string,
): Promise<Response> {
  const owner: Owner = { mode: row.owner_mode, id: row.owner_id };
  const gone = await parts.database.transaction(async (tx) => {
    await holdBinding(parts, tx, { owner, upstreamId: row.upstream_id, account: row.account });
    const removed =
      row.kind === "flow"
        ? (await parts.flows.take(tx, "connect", { id: row.id }, "revoked")) !== undefined
        : await parts.vault.revoke(tx, row.id, "deleted");
    if (!removed) return false;
    await parts.flows.end(tx, { kind: "state", parentId: row.id }, "revoked");
    await parts.vault.releaseHeld(tx, row.id, "revoked");
    await parts.audit.append(tx, {
      event: "session.revoked",
      actor: actorOf(caller),
      owner,
      upstreamId: row.upstream_id,
      requestId,
      detail: { session_id: row.id, kind: row.kind },
    });
    return true;
  });
  if (!gone) throw unknownSession();
  parts.world.reach("revoke.4.committed");
  return noContent();
}

function scopeOf(caller: Principal): SessionScope {
  if (isAdmin(caller)) return "all";
  const owner = ownerOf(caller);
  if (!owner) throw new Error("a caller who is no administrator and nobody's owner");
  return { ...owner, manages: personOf(caller) };
}

/** What the caller may not see is 404, the same 404 as what does not exist (contract section 1). */
export async function getSession(parts: ConnectParts, id: string, caller: Principal): Promise<SessionRow> {
  const row = await findSession(parts.database.db, scopeOf(caller), id, parts.world.now().getTime());
  if (!row) throw unknownSession();
  return row;
}

export function unknownSession(): Problem {
  return new Problem(
    "not_found",
    "session_not_found",
    "There is no such session. List the sessions to see which there are.",
  );
}
