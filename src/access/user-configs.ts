import type { Db, Tx } from "../db/index.ts";
import type { McpConfigView, UserConfigs } from "../identity/index.ts";
import type { Upstreams } from "../upstreams/index.ts";
import type { Access } from "./access.ts";
import { resolveConfigs } from "./key-body.ts";
import type { KeyConfig } from "./virtual-key.ts";

/** What people may use by name (`mcp_configs` of a user); app.ts hands it to identity/. */
export function userConfigs(parts: { upstreams: Upstreams; access: Access }): UserConfigs {
  const { upstreams, access } = parts;
  const shown = ({ upstreamId, tools }: KeyConfig): McpConfigView => ({
    mcp_client_id: upstreamId,
    mcp_client_name: upstreams.find(upstreamId)?.name,
    tools_to_execute: [...tools],
  });
  return {
    resolve: (configs) => resolveConfigs(upstreams, configs),
    read: async (db, userIds) => {
      const stored = await readUserConfigs(db, userIds);
      return new Map([...stored].map(([userId, configs]) => [userId, configs.map(shown)]));
    },
    replace: async (tx, userId, configs) => {
      await write(tx, userId, configs);
      await access.userChanged(tx, userId);
    },
  };
}

/** By user; one statement, however many. */
export async function readUserConfigs(
  db: Db | Tx,
  userIds: readonly string[],
): Promise<ReadonlyMap<string, readonly KeyConfig[]>> {
  if (userIds.length === 0) return new Map();
  const rows = await db
    .selectFrom("user_upstreams")
    .selectAll()
    .where("user_id", "in", [...userIds])
    .orderBy("upstream_id")
    .execute();
  const byUser = Map.groupBy(rows, (row) => row.user_id);
  return new Map(
    [...byUser].map(([userId, own]) => [
      userId,
      own.map((row) => ({ upstreamId: row.upstream_id, tools: JSON.parse(row.tools_json) as string[] })),
    ]),
  );
}

async function write(tx: Tx, userId: string, configs: readonly KeyConfig[]): Promise<void> {
  await tx.deleteFrom("user_upstreams").where("user_id", "=", userId).execute();
  if (configs.length === 0) return;
  await tx
    .insertInto("user_upstreams")
    .values(
      configs.map(({ upstreamId, tools }) => ({
        user_id: userId,
        upstream_id: upstreamId,
        tools_json: JSON.stringify(tools),
      })),
    )
    .execute();
}
