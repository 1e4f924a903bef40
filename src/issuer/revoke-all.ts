import { z } from "zod";
import { type Owner, Problem } from "../base/index.ts";
import { json, type Route } from "../http/index.ts";
import { actorOf, isAdmin, ownerOf, type Principal, route } from "../identity/index.ts";
import { revokedAnswer } from "./answers.ts";
import type { Grants } from "./grants.ts";
import type { IssuerParts } from "./parts.ts";

const id = z.string().min(1).max(200).optional();
const named = z
  .strictObject({ client_id: id, user_id: id, virtual_key_id: id })
  .refine((body) => Object.values(body).filter((value) => value !== undefined).length === 1, {
    error: "Name exactly one of client_id, user_id and virtual_key_id.",
  });

type Named = z.output<typeof named>;

/** All grants of a client, a person or a key at once, in one transaction. */
export function revokeAllRoute(parts: IssuerParts, grants: Grants): Route {
  return route({
    method: "POST",
    path: "/api/oauth2/sessions/revoke",
    operationId: "revokeGrants",
    summary: "Revoke every grant of a client, a user or a virtual key, with all their tokens",
    tag: "grants",
    access: "management",
    csrf: "session",
    rate: "api",
    errors: "envelope",
    json: named,
    refuses: [403],
    answers: { 200: { description: "`revoked`: how many grants that were", schema: revokedAnswer } },
    handle: async ({ body, caller, requestId }) => {
      refuseOthers(body, caller);
      const ending = { event: "grant.revoked", actor: actorOf(caller), requestId } as const;
      const revoked = await parts.database.transaction((tx) => grants.endAllOf(tx, whose(body), ending));
      return json({ revoked });
    },
  });
}

function whose({
  client_id,
  user_id,
  virtual_key_id,
}: Named): { clientRowId: string } | { owner: Owner } | { virtualKeyId: string } {
  if (client_id !== undefined) return { clientRowId: client_id };
  if (user_id !== undefined) return { owner: { mode: "user", id: user_id } };
  return { virtualKeyId: virtual_key_id! };
}

/** Whom the caller sees the grants of; the same answer whether or not what was named exists (contract section 1). */
function refuseOthers({ user_id, virtual_key_id }: Named, caller: Principal): void {
  if (isAdmin(caller)) return;
  const isOwn =
    caller.kind === "virtual_key"
      ? virtual_key_id === caller.virtualKeyId
      : user_id !== undefined && user_id === ownerOf(caller)?.id;
  if (isOwn) return;
  throw new Problem(
    "forbidden",
    "administrator_required",
    "Only an administrator may end what is not your own. Name yourself, or ask one.",
  );
}
