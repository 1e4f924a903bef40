import { z } from "zod";
import { newId, newSecret, Problem } from "../base/index.ts";
import type { Row } from "../db/index.ts";
import { json, noContent, pageAnswer, pageQuery, type Route } from "../http/index.ts";
import { actorOf, route } from "../identity/index.ts";
import { createdClient, shownClient } from "./answers.ts";
import { clientIdHash } from "./client.ts";
import { shownName } from "./client-name.ts";
import type { Grants } from "./grants.ts";
import type { IssuerParts } from "./parts.ts";
import { redirectUriFault } from "./redirect-uri.ts";

const createBody = z.strictObject({
  client_name: z.string().min(1).max(200),
  /** None: a client that is never redirected to (devices, ID-JAG). */
  redirect_uris: z.array(z.string()).max(20).default([]),
  token_endpoint_auth_method: z
    .enum(["none", "client_secret_basic", "client_secret_post"])
    .default("client_secret_basic"),
});

const common = { tag: "clients", access: "admin", rate: "api", errors: "envelope" } as const;
const path = "/api/oauth2/clients";

/** Clients that an administrator registers; their `client_id` is their row id. */
export function staticClientRoutes(parts: IssuerParts, grants: Grants): Route[] {
  return [
    route({
      ...common,
      method: "GET",
      path,
      operationId: "listOAuthClients",
      summary: "Clients registered by an administrator",
      csrf: "none",
      query: z.object(pageQuery({ max: 500, default: 50 })),
      refuses: [],
      answers: { 200: { description: "Newest first", schema: pageAnswer("clients", shownClient) } },
      handle: async ({ query }) => json(await list(parts, query)),
    }),
    route({
      ...common,
      method: "POST",
      path,
      operationId: "createOAuthClient",
      summary: "Register a client; its secret is shown once, here",
      csrf: "session",
      json: createBody,
      refuses: [],
      answers: { 201: { description: "Registered", schema: createdClient } },
      handle: async ({ body, caller, requestId }) =>
        json(await create(parts, body, { actor: actorOf(caller), requestId }), 201),
    }),
    route({
      ...common,
      method: "DELETE",
      path: `${path}/{id}`,
      operationId: "deleteOAuthClient",
      summary: "Remove a client with everything it was granted",
      csrf: "session",
      params: z.object({ id: z.string().max(200) }),
      refuses: [],
      answers: { 204: { description: "Removed" } },
      handle: async ({ params, caller, requestId }) => {
        await remove(parts, grants, params.id, { actor: actorOf(caller), requestId });
        return noContent();
      },
    }),
  ];
}

async function create(
  parts: IssuerParts,
  body: z.output<typeof createBody>,
  by: { actor: string; requestId: string },
) {
  for (const uri of body.redirect_uris) {
    const fault = redirectUriFault(uri, parts.settings);
    if (fault !== undefined)
      throw new Problem("invalid", "invalid_redirect_uri", fault, { param: "redirect_uris" });
  }
  const name = shownName(body.client_name);
  if (name === "")
    throw new Problem("invalid", "invalid_request", "Give the client a name.", { param: "client_name" });
  const id = newId(parts.world, "client");
  const secret = body.token_endpoint_auth_method === "none" ? undefined : newSecret(parts.world, "pstcs_");
  const row: Row<"clients"> = {
    id,
    kind: "static",
    client_id_hash: clientIdHash(parts.hash, id),
    name,
    redirect_uris_json: JSON.stringify(body.redirect_uris),
    secret_hash: secret === undefined ? null : parts.hash.of("client_secret", secret),
    created_at: parts.world.now().getTime(),
  };
  await parts.database.transaction(async (tx) => {
    await tx.insertInto("clients").values(row).execute();
    await parts.audit.append(tx, { event: "client.created", ...by, detail: { client_id: id, name } });
  });
  return secret === undefined ? view(row) : { ...view(row), client_secret: secret };
}

async function list(parts: IssuerParts, { limit, offset }: { limit: number; offset: number }) {
  const all = parts.database.db.selectFrom("clients").where("kind", "=", "static");
  const { total } = await all
    .select((count) => count.fn.countAll<number>().as("total"))
    .executeTakeFirstOrThrow();
  const rows = await all
    .selectAll()
    .orderBy("created_at", "desc")
    .orderBy("id", "desc")
    .limit(limit)
    .offset(offset)
    .execute();
  return { clients: rows.map(view), count: rows.length, total_count: Number(total), limit, offset };
}

async function remove(
  parts: IssuerParts,
  grants: Grants,
  id: string,
  by: { actor: string; requestId: string },
): Promise<void> {
  await parts.database.transaction(async (tx) => {
    const row = await tx
      .selectFrom("clients")
      .selectAll()
      .where("id", "=", id)
      .where("kind", "=", "static")
      .executeTakeFirst();
    if (!row)
      throw new Problem(
        "not_found",
        "client_not_found",
        "There is no such client. List the clients to see what exists.",
      );
    await grants.endAllOf(tx, { clientRowId: row.id }, { event: "grant.revoked", ...by });
    await tx.deleteFrom("clients").where("id", "=", row.id).execute();
    await parts.audit.append(tx, {
      event: "client.deleted",
      ...by,
      detail: { client_id: row.id, name: row.name },
    });
  });
}

/** The secret is never part of it. */
function view(row: Row<"clients">) {
  return {
    client_id: row.id,
    client_name: row.name,
    redirect_uris: JSON.parse(row.redirect_uris_json) as string[],
    token_endpoint_auth_method: row.secret_hash === null ? "none" : "client_secret_basic",
    created_at: new Date(row.created_at).toISOString(),
  };
}
