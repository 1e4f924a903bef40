import type { Db } from "../db/index.ts";
import type { Group } from "../identity/index.ts";
import type { Upstream } from "../upstreams/index.ts";
import { toolSet, unite } from "./decide.ts";
import { readAttached, readGroupConfigs } from "./group-configs.ts";
import { readKeys } from "./key-rows.ts";
import { readUserConfigs } from "./user-configs.ts";
import { judge, type KeyConfig } from "./virtual-key.ts";

/** Where something comes from. `own`: named for the person; `everybody`: allowed on all keys. */
export type Origin =
  | { kind: "own" | "everybody" }
  | { kind: "group" | "virtual_key"; id: string; name: string };

export interface Part {
  from: Origin;
  tools: readonly string[];
}

/** One upstream that a person may use. `tools`: all of them together. */
export interface UsableUpstream {
  upstream: Upstream;
  tools: readonly string[];
  parts: readonly Part[];
}

export interface UsableVirtualMcp {
  id: string;
  slug: string;
  name: string;
  from: readonly Origin[];
}

/** What a person may use and where each part comes from, read from the database: what the rules are made of (rules.ts). */
export async function readUserAccess(
  db: Db,
  about: { userId: string; groups: readonly Group[]; upstreams: readonly Upstream[]; now: number },
): Promise<{ upstreams: UsableUpstream[]; virtualMcps: UsableVirtualMcp[] }> {
  const { userId, groups, upstreams, now } = about;
  const keys = (await readKeys(db, { userId })).filter((key) => judge(key, now).ok);
  const own = (await readUserConfigs(db, [userId])).get(userId) ?? [];
  const byGroup = await readGroupConfigs(
    db,
    groups.map(({ id }) => id),
  );
  const given: [Origin, readonly KeyConfig[]][] = [
    [{ kind: "own" }, own],
    ...groups.map(({ id, name }): [Origin, readonly KeyConfig[]] => [
      { kind: "group", id, name },
      byGroup.get(id) ?? [],
    ]),
    ...keys.map(({ id, name, configs }): [Origin, readonly KeyConfig[]] => [
      { kind: "virtual_key", id, name },
      configs,
    ]),
  ];
  const usable = upstreams.map((upstream) => ({ upstream, parts: partsOf(upstream, given) }));
  return {
    upstreams: usable
      .filter(({ parts }) => parts.length > 0)
      .map(({ upstream, parts }) => ({ upstream, parts, tools: together(parts) })),
    virtualMcps: await attachedTo(db, userId, groups, keys),
  };
}

function partsOf(upstream: Upstream, given: readonly [Origin, readonly KeyConfig[]][]): Part[] {
  const everybody: Part[] = upstream.allowOnAllVirtualKeys
    ? [{ from: { kind: "everybody" }, tools: ["*"] }]
    : [];
  return [
    ...everybody,
    ...given.flatMap(([from, configs]) =>
      configs
        .filter(({ upstreamId, tools }) => upstreamId === upstream.id && tools.length > 0)
        .map(({ tools }): Part => ({ from, tools })),
    ),
  ];
}

function together(parts: readonly Part[]): string[] {
  const all = parts.map(({ tools }) => toolSet(tools)).reduce((sum, tools) => unite(sum, tools));
  return all === "*" ? ["*"] : [...all].sort();
}

async function attachedTo(
  db: Db,
  userId: string,
  groups: readonly Group[],
  keys: readonly { id: string; name: string }[],
): Promise<UsableVirtualMcp[]> {
  const found = new Map<string, { id: string; slug: string; name: string; from: Origin[] }>();
  const add = (rows: readonly { id: string; slug: string; name: string }[], from: Origin) => {
    for (const row of rows) {
      const known = found.get(row.id);
      if (known) known.from.push(from);
      else found.set(row.id, { ...row, from: [from] });
    }
  };
  const bundles = db.selectFrom("virtual_mcps").select(["virtual_mcps.id", "slug", "virtual_mcps.name"]);
  const own = bundles
    .innerJoin("virtual_mcp_users", "virtual_mcp_users.virtual_mcp_id", "virtual_mcps.id")
    .where("virtual_mcp_users.user_id", "=", userId);
  add(await own.execute(), { kind: "own" });
  const byGroup = await readAttached(
    db,
    groups.map(({ id }) => id),
  );
  for (const { id, name } of groups) add(byGroup.get(id) ?? [], { kind: "group", id, name });
  if (keys.length > 0) {
    const byKey = await bundles
      .innerJoin("virtual_mcp_keys", "virtual_mcp_keys.virtual_mcp_id", "virtual_mcps.id")
      .select("virtual_key_id")
      .where(
        "virtual_key_id",
        "in",
        keys.map(({ id }) => id),
      )
      .execute();
    for (const { virtual_key_id, id, slug, name } of byKey)
      add([{ id, slug, name }], {
        kind: "virtual_key",
        id: virtual_key_id,
        name: keys.find((key) => key.id === virtual_key_id)!.name,
      });
  }
  return [...found.values()].sort((a, b) => (a.slug < b.slug ? -1 : 1));
}
