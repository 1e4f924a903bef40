import { Problem, type World } from "../base/index.ts";
import type { Database, Db, Tx } from "../db/index.ts";
import type { AttachedVirtualMcp, GroupGifts } from "../identity/index.ts";
import type { Upstreams } from "../upstreams/index.ts";
import { resolveConfigs } from "./key-body.ts";
import type { KeyConfig } from "./virtual-key.ts";
import { missing } from "./virtual-mcp-rows.ts";

interface Parts {
  upstreams: Upstreams;
  database: Database;
  world: World;
}

/** What groups give; app.ts hands it to identity/. */
export function groupGifts(parts: Parts): GroupGifts {
  const { upstreams } = parts;
  return {
    resolve: (configs) => resolveConfigs(upstreams, configs),
    read: async (db, groupIds) => {
      const configs = await readGroupConfigs(db, groupIds);
      const attached = await readAttached(db, groupIds);
      return new Map(
        groupIds.map((groupId) => [
          groupId,
          {
            configs: (configs.get(groupId) ?? []).map(({ upstreamId, tools }) => ({
              mcp_client_id: upstreamId,
              mcp_client_name: upstreams.find(upstreamId)?.name,
              tools_to_execute: [...tools],
            })),
            virtualMcps: attached.get(groupId) ?? [],
          },
        ]),
      );
    },
    replace: async (tx, groupId, { configs, virtualMcpIds }) => {
      if (configs) await writeGroupConfigs(tx, groupId, configs);
      if (virtualMcpIds) await attach(parts, tx, groupId, virtualMcpIds);
    },
  };
}

/** The virtual MCPs that serve the members of each; one statement. */
export async function readAttached(
  db: Db | Tx,
  groupIds: readonly string[],
): Promise<ReadonlyMap<string, readonly AttachedVirtualMcp[]>> {
  if (groupIds.length === 0) return new Map();
  const rows = await db
    .selectFrom("virtual_mcp_groups")
    .innerJoin("virtual_mcps", "virtual_mcps.id", "virtual_mcp_groups.virtual_mcp_id")
    .select(["group_id", "virtual_mcps.id", "slug", "name"])
    .where("group_id", "in", [...groupIds])
    .orderBy("slug")
    .execute();
  return new Map(
    [...Map.groupBy(rows, (row) => row.group_id)].map(([groupId, own]) => [
      groupId,
      own.map(({ id, slug, name }) => ({ id, slug, name })),
    ]),
  );
}

async function attach(
  { database: { changes }, world }: Pick<Parts, "database" | "world">,
  tx: Tx,
  groupId: string,
  virtualMcpIds: readonly string[],
): Promise<void> {
  if ((await missing(tx, "virtual_mcps", virtualMcpIds)).length > 0) {
    throw new Problem("invalid", "unknown_virtual_mcp", "There is no virtual MCP with one of these ids.", {
      param: "virtual_mcp_ids",
    });
  }
  const before = await tx
    .deleteFrom("virtual_mcp_groups")
    .where("group_id", "=", groupId)
    .returning("virtual_mcp_id")
    .execute();
  const now = world.now().getTime();
  const rows = virtualMcpIds.map((id) => ({ virtual_mcp_id: id, group_id: groupId }));
  if (rows.length > 0) await tx.insertInto("virtual_mcp_groups").values(rows).execute();
  for (const id of new Set([...before.map((row) => row.virtual_mcp_id), ...virtualMcpIds]))
    await changes.note(tx, "virtual_mcp", id, now);
}

/** What each of these groups gives; one statement, however many. */
export async function readGroupConfigs(
  db: Db | Tx,
  groupIds: readonly string[],
): Promise<ReadonlyMap<string, readonly KeyConfig[]>> {
  if (groupIds.length === 0) return new Map();
  const rows = await db
    .selectFrom("group_upstreams")
    .selectAll()
    .where("group_id", "in", [...groupIds])
    .orderBy("upstream_id")
    .execute();
  return new Map(
    [...Map.groupBy(rows, (row) => row.group_id)].map(([groupId, own]) => [
      groupId,
      own.map((row) => ({ upstreamId: row.upstream_id, tools: JSON.parse(row.tools_json) as string[] })),
    ]),
  );
}

/** Makes these all that the group gives. */
export async function writeGroupConfigs(
  tx: Tx,
  groupId: string,
  configs: readonly KeyConfig[],
): Promise<void> {
  await tx.deleteFrom("group_upstreams").where("group_id", "=", groupId).execute();
  if (configs.length === 0) return;
  await tx
    .insertInto("group_upstreams")
    .values(
      configs.map(({ upstreamId, tools }) => ({
        group_id: groupId,
        upstream_id: upstreamId,
        tools_json: JSON.stringify(tools),
      })),
    )
    .execute();
}
