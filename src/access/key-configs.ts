import type { Database } from "../db/index.ts";
import type { KeyConfigs, KeyConfigView } from "../upstreams/index.ts";
import type { VirtualKeys } from "./virtual-keys.ts";

/** Which keys may use which upstream, seen from the upstream (`vk_configs`); app.ts hands it to upstreams/. */
export function keyConfigs(parts: { database: Database; keys: VirtualKeys }): KeyConfigs {
  return {
    read: (upstreamIds) => read(parts.database, upstreamIds),
    replace: (tx, upstreamId, configs) => {
      const byKey = configs.map(
        (config) => [config.virtual_key_id, config.tools_to_execute ?? ["*"]] as const,
      );
      return parts.keys.setUpstream(tx, upstreamId, new Map(byKey));
    },
  };
}

async function read(
  { db }: Database,
  upstreamIds: readonly string[],
): Promise<ReadonlyMap<string, KeyConfigView[]>> {
  if (upstreamIds.length === 0) return new Map();
  const rows = await db
    .selectFrom("virtual_key_upstreams")
    .selectAll()
    .where("upstream_id", "in", [...upstreamIds])
    .orderBy("virtual_key_id")
    .execute();
  const byUpstream = new Map<string, KeyConfigView[]>();
  for (const row of rows) {
    const views = byUpstream.get(row.upstream_id) ?? [];
    views.push({
      virtual_key_id: row.virtual_key_id,
      tools_to_execute: JSON.parse(row.tools_json) as string[],
    });
    byUpstream.set(row.upstream_id, views);
  }
  return byUpstream;
}
