import { sql } from "kysely";
import type { Db, Row, Tx } from "../db/index.ts";
import { likeLiteral } from "../http/index.ts";
import { toolSet } from "./decide.ts";
import type { VirtualMcp } from "./virtual-mcp.ts";

export interface VirtualMcpFilter {
  ids?: readonly string[];
  /** Part of the slug or the name; case does not count. */
  search?: string;
  limit?: number;
  offset?: number;
}

/** What hangs on one virtual MCP. */
export interface Bundle {
  upstreams: { upstreamId: string; tools: readonly string[]; account?: string }[];
  virtualKeyIds: readonly string[];
  userIds: readonly string[];
  groupIds: readonly string[];
}

/** Reads virtual MCPs whole, oldest first: five statements, however many there are. */
export async function readVirtualMcps(db: Db | Tx, filter: VirtualMcpFilter): Promise<VirtualMcp[]> {
  const rows = await matching(db, filter)
    .selectAll()
    .orderBy("created_at")
    .orderBy("id")
    .$if(filter.limit !== undefined, (query) => query.limit(filter.limit!).offset(filter.offset ?? 0))
    .execute();
  if (rows.length === 0) return [];
  // Everything is read at once for the memory, which then needs no list of ids as long as the table.
  const ids = filter.ids || filter.limit !== undefined ? rows.map((row) => row.id) : undefined;
  const of = <T extends LinkTable>(table: T) => readLinks(db, table, ids);
  const upstreams = Map.groupBy(await of("virtual_mcp_upstreams"), (row) => row.virtual_mcp_id);
  const keys = Map.groupBy(await of("virtual_mcp_keys"), (row) => row.virtual_mcp_id);
  const users = Map.groupBy(await of("virtual_mcp_users"), (row) => row.virtual_mcp_id);
  const groups = Map.groupBy(await of("virtual_mcp_groups"), (row) => row.virtual_mcp_id);
  return rows.map((row) =>
    toVirtualMcp(row, {
      upstreams: (upstreams.get(row.id) ?? []).map((link) => ({
        upstreamId: link.upstream_id,
        tools: JSON.parse(link.tools_json) as string[],
        account: link.account ?? undefined,
      })),
      virtualKeyIds: (keys.get(row.id) ?? []).map((link) => link.virtual_key_id),
      userIds: (users.get(row.id) ?? []).map((link) => link.user_id),
      groupIds: (groups.get(row.id) ?? []).map((link) => link.group_id),
    }),
  );
}

export async function countVirtualMcps(db: Db | Tx, filter: VirtualMcpFilter): Promise<number> {
  const { count } = await matching(db, filter)
    .select((expression) => expression.fn.countAll<number>().as("count"))
    .executeTakeFirstOrThrow();
  return Number(count);
}

function matching(db: Db | Tx, { ids, search }: VirtualMcpFilter) {
  const part = `%${likeLiteral((search ?? "").toLowerCase())}%`;
  return db
    .selectFrom("virtual_mcps")
    .$if(ids !== undefined, (query) => query.where("id", "in", [...ids!]))
    .$if(search !== undefined, (query) =>
      query.where(
        sql<boolean>`(lower(slug) like ${part} escape '\\' or lower(name) like ${part} escape '\\')`,
      ),
    );
}

type LinkTable = "virtual_mcp_upstreams" | "virtual_mcp_keys" | "virtual_mcp_users" | "virtual_mcp_groups";

function readLinks<T extends LinkTable>(
  db: Db | Tx,
  table: T,
  ids: readonly string[] | undefined,
): Promise<Row<T>[]> {
  const query = db
    .selectFrom<LinkTable>(table)
    .selectAll()
    .$if(ids !== undefined, (links) => links.where("virtual_mcp_id", "in", [...ids!]));
  return query.execute() as Promise<unknown> as Promise<Row<T>[]>;
}

function toVirtualMcp(row: Row<"virtual_mcps">, bundle: Bundle): VirtualMcp {
  const { upstreams, virtualKeyIds, userIds, groupIds } = bundle;
  const sorted = upstreams.toSorted((a, b) => (a.upstreamId < b.upstreamId ? -1 : 1));
  return {
    id: row.id,
    slug: row.slug,
    name: row.name,
    description: row.description,
    disabled: row.disabled === 1,
    names: row.names,
    listing: row.listing,
    tools: sorted.map(({ upstreamId, tools }) => ({ upstreamId, tools })),
    allowed: new Map(
      sorted
        .filter(({ tools }) => tools.length > 0)
        .map(({ upstreamId, tools }) => [upstreamId, toolSet(tools)]),
    ),
    accounts: new Map(
      sorted.flatMap(({ upstreamId, account }) => (account === undefined ? [] : [[upstreamId, account]])),
    ),
    virtualKeyIds: new Set(virtualKeyIds.toSorted()),
    userIds: new Set(userIds.toSorted()),
    groupIds: new Set(groupIds.toSorted()),
    source: row.source,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

/** Makes these all that hang on the virtual MCP; what is `undefined` stays. The ids must exist. */
export async function writeBundle(tx: Tx, id: string, bundle: Partial<Bundle>): Promise<void> {
  const { upstreams, virtualKeyIds, userIds, groupIds } = bundle;
  if (upstreams) {
    const rows = upstreams.map(({ upstreamId, tools, account }) => ({
      virtual_mcp_id: id,
      upstream_id: upstreamId,
      tools_json: JSON.stringify(tools),
      account: account ?? null,
    }));
    await tx.deleteFrom("virtual_mcp_upstreams").where("virtual_mcp_id", "=", id).execute();
    if (rows.length > 0) await tx.insertInto("virtual_mcp_upstreams").values(rows).execute();
  }
  if (virtualKeyIds) {
    const rows = virtualKeyIds.map((keyId) => ({ virtual_mcp_id: id, virtual_key_id: keyId }));
    await tx.deleteFrom("virtual_mcp_keys").where("virtual_mcp_id", "=", id).execute();
    if (rows.length > 0) await tx.insertInto("virtual_mcp_keys").values(rows).execute();
  }
  if (userIds) {
    const rows = userIds.map((userId) => ({ virtual_mcp_id: id, user_id: userId }));
    await tx.deleteFrom("virtual_mcp_users").where("virtual_mcp_id", "=", id).execute();
    if (rows.length > 0) await tx.insertInto("virtual_mcp_users").values(rows).execute();
  }
  if (groupIds) {
    const rows = groupIds.map((groupId) => ({ virtual_mcp_id: id, group_id: groupId }));
    await tx.deleteFrom("virtual_mcp_groups").where("virtual_mcp_id", "=", id).execute();
    if (rows.length > 0) await tx.insertInto("virtual_mcp_groups").values(rows).execute();
  }
}

type Counted = "virtual_keys" | "users" | "groups" | "virtual_mcps";

/** Which of these ids do not exist. */
export async function missing(tx: Db | Tx, table: Counted, ids: readonly string[]): Promise<string[]> {
  if (ids.length === 0) return [];
  const rows = await tx
    .selectFrom<Counted>(table)
    .select("id")
    .where("id", "in", [...ids])
    .execute();
  const known = new Set(rows.map((row) => row.id));
  return ids.filter((id) => !known.has(id));
}
