import { sql } from "kysely";
import { z } from "zod";
import { Problem } from "../base/index.ts";
import type { Db, Tx } from "../db/index.ts";
import { json, likeLiteral, noContent, pageAnswer, pageQuery, type Route } from "../http/index.ts";
import { actorOf, isAdmin, ownerOf, type Principal, route } from "../identity/index.ts";
import { shownGrant } from "./answers.ts";
import type { Grants } from "./grants.ts";
import type { IssuerParts } from "./parts.ts";
import { slugOf } from "./resource.ts";

const listQuery = z.object({
  ...pageQuery({ max: 500, default: 50 }),
  q: z.string().max(200).optional(),
  bf_mode: z.enum(["user", "vk", "session"]).optional(),
  virtual_key_id: z.string().max(200).optional(),
  user_id: z.string().max(200).optional(),
});

const common = { tag: "grants", access: "management", rate: "api", errors: "envelope" } as const;

/** What we issued, to whom, and taking it back (contract section 4). */
export function grantRoutes(parts: IssuerParts, grants: Grants): Route[] {
  return [
    route({
      ...common,
      method: "GET",
      path: "/api/oauth2/sessions",
      operationId: "listGrants",
      summary: "Grants: which client may act for whom",
      csrf: "none",
      query: listQuery,
      refuses: [],
      answers: { 200: { description: "Newest first", schema: pageAnswer("sessions", shownGrant) } },
      handle: async ({ query, caller }) => json(await listGrants(parts, caller, query)),
    }),
    route({
      ...common,
      method: "DELETE",
      path: "/api/oauth2/sessions/{id}",
      operationId: "revokeGrant",
      summary: "Revoke a grant with all its tokens",
      csrf: "session",
      params: z.object({ id: z.string().max(200) }),
      refuses: [],
      answers: { 204: { description: "Revoked" } },
      handle: async ({ params, caller, requestId }) => {
        await revokeGrant(parts, grants, { id: params.id, caller, requestId });
        return noContent();
      },
    }),
  ];
}

/** Ends one that the caller may see, with all its tokens. Throws 404. */
export async function revokeGrant(
  parts: IssuerParts,
  grants: Grants,
  { id, caller, requestId }: { id: string; caller: Principal; requestId: string },
): Promise<void> {
  await parts.database.transaction(async (tx) => {
    const own = await visible(tx, caller, parts.world.now().getTime())
      .select("grants.id")
      .where("grants.id", "=", id)
      .executeTakeFirst();
    const ending = { event: "grant.revoked", actor: actorOf(caller), requestId } as const;
    // The same 404 for unknown and for somebody else's (TK-20).
    if (!own || !(await grants.end(tx, own.id, ending))) throw unknownGrant();
  });
  parts.world.reach("end.5.committed");
}

/** A client that may act for somebody. Times in milliseconds since 1970. */
export interface OwnGrant {
  id: string;
  clientName: string;
  redirectUri: string;
  /** The virtual MCP whose address it is for; undefined: everything its identity may use. */
  slug?: string;
  /** Made with this personal key, and under its rules. */
  keyName?: string;
  createdAt: number;
  lastUsedAt?: number;
}

/** The grants of one person, the last used first. */
export async function grantsOfPerson(parts: IssuerParts, userId: string): Promise<OwnGrant[]> {
  const rows = await parts.database.db
    .selectFrom("grants")
    .leftJoin("virtual_keys", "virtual_keys.id", "grants.virtual_key_id")
    .select(["grants.id", "client_name", "redirect_uri", "resource", "virtual_keys.name as key_name"])
    .select(["grants.created_at", "grants.last_used_at"])
    .where("grants.status", "=", "active")
    .where("grants.ends_at", ">", parts.world.now().getTime())
    .where("grants.owner_mode", "=", "user")
    .where("grants.owner_id", "=", userId)
    .orderBy(sql`coalesce(grants.last_used_at, grants.created_at)`, "desc")
    .orderBy("grants.id")
    .execute();
  return rows.map((row) => ({
    id: row.id,
    clientName: row.client_name,
    redirectUri: row.redirect_uri,
    slug: slugOf(row.resource),
    keyName: row.key_name ?? undefined,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at ?? undefined,
  }));
}

/** Active grants the caller may see: all for administrators, else their own (attack rule R14). */
function visible(db: Db | Tx, caller: Principal, now: number) {
  return db
    .selectFrom("grants")
    .leftJoin("users", (join) =>
      join.onRef("users.id", "=", "grants.owner_id").on("grants.owner_mode", "=", "user"),
    )
    .leftJoin("virtual_keys", "virtual_keys.id", "grants.virtual_key_id")
    .where("grants.status", "=", "active")
    .where("grants.ends_at", ">", now)
    .$if(!isAdmin(caller), (query) => {
      if (caller.kind === "virtual_key")
        return query.where("grants.virtual_key_id", "=", caller.virtualKeyId);
      const userId = ownerOf(caller)?.id ?? "";
      return query.where("grants.owner_mode", "=", "user").where("grants.owner_id", "=", userId);
    });
}

async function listGrants(parts: IssuerParts, caller: Principal, query: z.output<typeof listQuery>) {
  const { q, bf_mode: mode, virtual_key_id: keyId, user_id: userId, limit, offset } = query;
  const like = q === undefined ? undefined : `%${likeLiteral(q.toLowerCase())}%`;
  const filtered = visible(parts.database.db, caller, parts.world.now().getTime())
    .$if(mode !== undefined, (rows) => rows.where("grants.owner_mode", "=", mode!))
    .$if(keyId !== undefined, (rows) => rows.where("grants.virtual_key_id", "=", keyId!))
    .$if(userId !== undefined, (rows) =>
      rows.where("grants.owner_mode", "=", "user").where("grants.owner_id", "=", userId!),
    )
    .$if(like !== undefined, (rows) =>
      rows.where(
        sql<boolean>`(lower(grants.client_name) like ${like} escape '\\' or lower(grants.owner_id) like ${like} escape '\\'
          or lower(users.email) like ${like} escape '\\' or lower(users.name) like ${like} escape '\\'
          or lower(virtual_keys.name) like ${like} escape '\\')`,
      ),
    );
  const { total } = await filtered
    .select((count) => count.fn.countAll<number>().as("total"))
    .executeTakeFirstOrThrow();
  const rows = await filtered
    .select([
      "grants.id",
      "grants.client_row_id",
      "grants.client_name",
      "grants.owner_mode",
      "grants.owner_id",
    ])
    .select(["grants.scope", "grants.created_at", "grants.last_used_at"])
    .select(["users.name as user_name", "virtual_keys.name as key_name"])
    .orderBy("grants.created_at", "desc")
    .orderBy("grants.id", "desc")
    .limit(limit)
    .offset(offset)
    .execute();
  const sessions = rows.map((row) => ({
    id: row.id,
    client_id: row.client_row_id,
    client_name: row.client_name,
    bf_mode: row.owner_mode,
    bf_sub: row.owner_id,
    bf_sub_display: (row.owner_mode === "user" ? row.user_name : row.key_name) ?? row.owner_id,
    scope: row.scope,
    created_at: new Date(row.created_at).toISOString(),
    last_used_at: row.last_used_at === null ? null : new Date(row.last_used_at).toISOString(),
  }));
  return { sessions, count: sessions.length, total_count: Number(total), limit, offset };
}

function unknownGrant(): Problem {
  return new Problem(
    "not_found",
    "grant_not_found",
    "There is no such grant. List the grants to see what exists.",
  );
}
