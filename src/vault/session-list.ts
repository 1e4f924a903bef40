import { type SelectQueryBuilder, sql } from "kysely";
import type { Owner, OwnerMode } from "../base/index.ts";
import type { Db } from "../db/index.ts";
import { likeLiteral } from "../http/index.ts";

/** A per-user credential or a pending connect link, as contract section 2 lists it. Times in milliseconds since 1970. */
export interface SessionRow {
  id: string;
  kind: "token" | "header" | "flow";
  auth_kind: "oauth" | "headers";
  owner_mode: OwnerMode;
  owner_id: string;
  status: "active" | "needs_reauth" | "needs_update" | "orphaned" | "pending";
  status_reason: string | null;
  upstream_id: string;
  upstream_name: string;
  user_name: string | null;
  user_kind: "person" | "service" | null;
  /** Who looks after a service account. */
  user_manager_id: string | null;
  key_name: string | null;
  account: string;
  /** What the provider calls it, for its person to read; null where it did not say. */
  account_name: string | null;
  /** 0 or 1; null when it is the only account of its owner there. */
  is_default: number | null;
  created_at: number;
  updated_at: number | null;
  expires_at: number | null;
  last_refreshed_at: number | null;
  oauth_config_id: string | null;
  scopes_json: string | null;
}

/**
 * Whose rows may be seen; with `manages` also those of the service accounts that this person looks after. The owner predicate
 * is always part of the SQL (attack rule R8).
 */
export type SessionScope = "all" | (Owner & { manages?: string });

export interface SessionFilter {
  id?: string;
  q?: string;
  identity?: readonly string[];
  status?: readonly string[];
  auth_mode?: readonly string[];
  mcp_client_id?: readonly string[];
  kind?: readonly string[];
}

/** Newest first, filtered, counted and paged in SQL. `now`: milliseconds; later links are not pending any more. */
export async function listSessions(
  db: Db,
  scope: SessionScope,
  filter: SessionFilter,
  page: { limit: number; offset: number },
  now: number,
): Promise<{ rows: SessionRow[]; total: number }> {
  const matching = filtered(visible(db, scope, now), filter);
  const { total } = await matching
    .select((row) => row.fn.countAll<number>().as("total"))
    .executeTakeFirstOrThrow();
  const rows = await matching
    .selectAll()
    .orderBy("created_at", "desc")
    .orderBy("id", "desc")
    .limit(page.limit)
    .offset(page.offset)
    .execute();
  return { rows, total: Number(total) };
}

/** One row by id, if it is within the scope. */
export async function findSession(
  db: Db,
  scope: SessionScope,
  id: string,
  now: number,
): Promise<SessionRow | undefined> {
  const { rows } = await listSessions(db, scope, { id }, { limit: 1, offset: 0 }, now);
  return rows[0];
}

/** Modes that are somebody's: `flow` is nobody's yet, `discovery` an administrator's tool. */
const LISTED: OwnerMode[] = ["user", "vk", "session"];

function visible(db: Db, scope: SessionScope, now: number) {
  const rows = credentialRows(db, scope).unionAll(flowRows(db, scope, now));
  return db.selectFrom(
    db
      .selectFrom(rows.as("row"))
      .innerJoin("upstreams", "upstreams.id", "row.upstream_id")
      .leftJoin("users", (join) =>
        join.onRef("users.id", "=", "row.owner_id").on("row.owner_mode", "=", "user"),
      )
      .leftJoin("virtual_keys", (join) =>
        join.onRef("virtual_keys.id", "=", "row.owner_id").on("row.owner_mode", "=", "vk"),
      )
      .selectAll("row")
      .select(["upstreams.name as upstream_name", "users.name as user_name", "users.email as user_email"])
      .select(["users.kind as user_kind", "users.manager_id as user_manager_id"])
      .select("virtual_keys.name as key_name")
      .as("session"),
  );
}

const isDefaultOfSeveral = sql<number | null>`case when exists (
  select 1 from credentials as other
  where other.owner_mode = credentials.owner_mode and other.owner_id = credentials.owner_id
    and other.upstream_id = credentials.upstream_id and other.account <> credentials.account
) then credentials.is_default end`;

function credentialRows(db: Db, scope: SessionScope) {
  return db
    .selectFrom("credentials")
    .select(["id", "kind as auth_kind", "owner_mode", "owner_id", "upstream_id", "account"])
    .select(["status_reason", "created_at", "updated_at", "expires_at", "last_refreshed_at"])
    .select(["oauth_config_id", "scopes_json"])
    .select("subject_name as account_name")
    .select(sql<SessionRow["kind"]>`case kind when 'oauth' then 'token' else 'header' end`.as("kind"))
    .select(sql<SessionRow["status"]>`case orphaned when 1 then 'orphaned' else status end`.as("status"))
    .select(isDefaultOfSeveral.as("is_default"))
    .where("owner_mode", "in", LISTED)
    .$if(scope !== "all", (query) => query.where(within(scope, "credentials")));
}

function within(scope: SessionScope, table: "credentials" | "flows") {
  if (scope === "all") return sql<boolean>`1 = 1`;
  const mode = sql.ref(`${table}.owner_mode`);
  const id = sql.ref(`${table}.owner_id`);
  const own = sql<boolean>`${mode} = ${scope.mode} and ${id} = ${scope.id}`;
  if (scope.manages === undefined) return own;
  return sql<boolean>`(${own} or (${mode} = 'user' and ${id} in (
    select users.id from users where users.kind = 'service' and users.manager_id = ${scope.manages}
  )))`;
}

/** Pending links, except those of a binding that has a credential: its own row tells enough. */
function flowRows(db: Db, scope: SessionScope, now: number) {
  return db
    .selectFrom("flows")
    .select("flows.id as id")
    .select((row) =>
      row
        .selectFrom("upstreams")
        .select(
          sql<
            SessionRow["auth_kind"]
          >`case upstreams.auth_type when 'per_user_headers' then 'headers' else 'oauth' end`.as("auth_kind"),
        )
        .whereRef("upstreams.id", "=", "flows.upstream_id")
        .$asScalar()
        .$notNull()
        .as("auth_kind"),
    )
    .select(sql<OwnerMode>`flows.owner_mode`.as("owner_mode"))
    .select(sql<string>`flows.owner_id`.as("owner_id"))
    .select(sql<string>`flows.upstream_id`.as("upstream_id"))
    .select("flows.account as account")
    .select(sql<string | null>`cast(null as text)`.as("status_reason"))
    .select("flows.created_at as created_at")
    .select(sql<number>`flows.created_at`.as("updated_at"))
    .select(sql<number | null>`flows.expires_at`.as("expires_at"))
    .select(sql<number | null>`cast(null as bigint)`.as("last_refreshed_at"))
    .select(sql<string | null>`cast(null as text)`.as("oauth_config_id"))
    .select(sql<string | null>`cast(null as text)`.as("scopes_json"))
    .select(sql<string | null>`cast(null as text)`.as("account_name"))
    .select(sql<SessionRow["kind"]>`'flow'`.as("kind"))
    .select(sql<SessionRow["status"]>`'pending'`.as("status"))
    .select(sql<number | null>`cast(null as integer)`.as("is_default"))
    .where("flows.kind", "=", "connect")
    .where("flows.ended_at", "is", null)
    .where("flows.expires_at", ">", now)
    .where("flows.owner_mode", "in", LISTED)
    .$if(scope !== "all", (query) => query.where(within(scope, "flows")))
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom("credentials")
            .select("credentials.id")
            .whereRef("credentials.owner_mode", "=", "flows.owner_mode")
            .whereRef("credentials.owner_id", "=", "flows.owner_id")
            .whereRef("credentials.upstream_id", "=", "flows.upstream_id")
            .whereRef("credentials.account", "=", "flows.account"),
        ),
      ),
    );
}

/** What the derived table `session` has: the row, and what `q` also looks at. */
type Searched = SelectQueryBuilder<
  { session: SessionRow & { user_email: string | null } },
  "session",
  object
>;

function filtered(query: Searched, filter: SessionFilter): Searched {
  let narrowed = query;
  if (filter.id !== undefined) narrowed = narrowed.where("id", "=", filter.id);
  const lists = [
    ["owner_id", filter.identity],
    ["status", filter.status],
    ["owner_mode", filter.auth_mode],
    ["upstream_id", filter.mcp_client_id],
    ["kind", filter.kind],
  ] as const;
  for (const [column, values] of lists) {
    if (values === undefined) continue;
    narrowed =
      values.length === 0
        ? narrowed.where(sql<boolean>`1 = 0`)
        : narrowed.where(sql.ref<string>(column), "in", [...values]);
  }
  if (filter.q === undefined || filter.q === "") return narrowed;
  const pattern = `%${likeLiteral(filter.q.toLowerCase())}%`;
  const columns = ["upstream_name", "user_name", "user_email", "key_name", "account"];
  return narrowed.where((row) =>
    row.or(columns.map((column) => sql<boolean>`lower(${sql.ref(column)}) like ${pattern} escape '\\'`)),
  );
}
