import { z } from "zod";
import { type Owner, Problem, sameOwner } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { json, type Route } from "../http/index.ts";
import { actorOf, isAdmin, ownerOf, type Principal, route } from "../identity/index.ts";
import { revokedAnswer } from "./answers.ts";
import type { ConnectParts } from "./parts.ts";

const id = z.string().min(1).max(200).optional();
const named = z
  .strictObject({ user_id: id, virtual_key_id: id, mcp_client_id: id })
  .refine((body) => Object.values(body).filter((value) => value !== undefined).length === 1, {
    error: "Name exactly one of user_id, virtual_key_id and mcp_client_id.",
  });

type Named = z.output<typeof named>;

/** All of a person, of a key, or of an upstream, at once: every credential and pending link, in one transaction. */
export function revokeAllRoute(parts: ConnectParts): Route {
  return route({
    method: "POST",
    path: "/api/mcp/sessions/revoke",
    operationId: "revokeMcpSessions",
    summary: "Delete every credential and pending link of a user, a virtual key or an upstream",
    tag: "MCP sessions",
    access: "management",
    csrf: "session",
    rate: "api",
    errors: "envelope",
    json: named,
    refuses: [403],
    answers: { 200: { description: "`revoked`: how many credentials that were", schema: revokedAnswer } },
    handle: async ({ body, caller, requestId }) => {
      refuseOthers(body, caller);
      const revoked = await parts.database.transaction(async (tx) => {
        const count = await remove(parts, tx, body);
        await parts.audit.append(tx, {
          event: "session.all_revoked",
          actor: actorOf(caller),
          owner: ownerNamed(body),
          upstreamId: body.mcp_client_id,
          requestId,
          detail: { revoked: count },
        });
        return count;
      });
      return json({ revoked });
    },
  });
}

function remove(parts: ConnectParts, tx: Tx, body: Named): Promise<number> {
  const owner = ownerNamed(body);
  return owner ? parts.vault.dropOwner(tx, owner) : parts.vault.dropUpstream(tx, body.mcp_client_id!);
}

function ownerNamed({ user_id, virtual_key_id }: Named): Owner | undefined {
  if (user_id !== undefined) return { mode: "user", id: user_id };
  return virtual_key_id === undefined ? undefined : { mode: "vk", id: virtual_key_id };
}

/** The same answer whether or not what was named exists (contract section 1). */
function refuseOthers(body: Named, caller: Principal): void {
  if (isAdmin(caller)) return;
  const own = ownerOf(caller);
  const owner = ownerNamed(body);
  if (own && owner && sameOwner(own, owner)) return;
  throw new Problem(
    "forbidden",
    "administrator_required",
    "Only an administrator may end what is not your own. Name yourself, or ask one.",
  );
}
