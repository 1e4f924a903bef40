import { z } from "zod";
import type { Owner } from "../base/index.ts";
import { json, type Route } from "../http/index.ts";
import {
  actorOf,
  isAdmin,
  looksAfter,
  type Principal,
  personOf,
  route,
  unknownServiceAccount,
} from "../identity/index.ts";
import { getUsable, label, startAccount } from "./account-routes.ts";
import { reauthAnswer } from "./answers.ts";
import type { Connect } from "./connect.ts";
import type { ConnectParts } from "./parts.ts";
import { startedView } from "./session-view.ts";

const id = z.string().min(1).max(128);

/** Where the accounts of a machine come from: a person connects them for it, once, in a browser (decision 0033). */
export function serviceAccountRoutes(parts: ConnectParts, connect: Connect): Route[] {
  return [
    route({
      method: "POST",
      path: "/api/service-accounts/{id}/connections/{mcp_client_id}",
      operationId: "connectServiceAccount",
      summary: "A link behind which who looks after a service account connects an account for it",
      tag: "Service accounts",
      access: "management",
      csrf: "session",
      rate: "api",
      errors: "envelope",
      params: z.object({ id, mcp_client_id: id }),
      json: z.strictObject({ account: label.optional() }).optional(),
      refuses: [400, 403, 409],
      answers: {
        200: { description: "Where its manager or an administrator goes, signed in", schema: reauthAnswer },
      },
      handle: async ({ params, body, caller, requestId }) => {
        const owner = await lookedAfter(parts, params.id, caller);
        const upstream = getUsable(parts, params.mcp_client_id, await parts.usableBy(owner));
        const by = actorOf(caller);
        const account = { owner, upstream, account: body?.account, by, requestId };
        return json(startedView(await startAccount(parts, connect, account)));
      },
    }),
  ];
}

/** Throws 404 for what the caller does not look after, as for what does not exist. */
async function lookedAfter({ database }: ConnectParts, accountId: string, caller: Principal): Promise<Owner> {
  const role = isAdmin(caller) ? "admin" : "member";
  const found = await looksAfter(database.db, { id: personOf(caller) ?? "", role }, accountId);
  if (!found) throw unknownServiceAccount();
  return { mode: "user", id: accountId };
}
