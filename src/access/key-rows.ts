import { sql } from "kysely";
import type { Db, Row, Tx } from "../db/index.ts";
import { likeLiteral } from "../http/index.ts";
import type { PresentedKey, VirtualKey } from "./virtual-key.ts";

export interface KeyFilter {
  ids?: readonly string[];
  userId?: string;
  userIds?: readonly string[];
  /** The name or the id. */
  named?: string;
  /** Part of the name; case does not count. */
  search?: string;
  limit?: number;
  offset?: number;
}

/** Reads keys with their configs, oldest first: two statements, however many keys. */
export async function readKeys(db: Db | Tx, filter: KeyFilter): Promise<VirtualKey[]> {
  const rows = await matching(db, filter)
    .leftJoin("users", "users.id", "virtual_keys.user_id")
    .selectAll("virtual_keys")
    .select("users.is_active as user_active")
    .orderBy("virtual_keys.created_at")
    .orderBy("virtual_keys.id")
    .$if(filter.limit !== undefined, (query) => query.limit(filter.limit!).offset(filter.offset ?? 0))
    .execute();
  if (rows.length === 0) return [];
  const configs = await db
    .selectFrom("virtual_key_upstreams")
    .selectAll()
    .where(
      "virtual_key_id",
      "in",
      rows.map((row) => row.id),
    )
    .orderBy("upstream_id")
    .execute();
  const byKey = Map.groupBy(configs, (config) => config.virtual_key_id);
  return rows.map((row) => toKey(row, byKey.get(row.id) ?? []));
}

/** The key that has this value, or had it before its last rotation; however long ago. */
export async function readPresentedKey(db: Db | Tx, hash: string): Promise<PresentedKey | undefined> {
  const row = await db
    .selectFrom("virtual_keys")
    .select(["id", "value_hash", "previous_value_expires_at"])
    .where((or) => or.or([or("value_hash", "=", hash), or("previous_value_hash", "=", hash)]))
    .executeTakeFirst();
  if (!row) return undefined;
  const [key] = await readKeys(db, { ids: [row.id] });
  if (!key) return undefined;
  return row.value_hash === hash ? { key } : { key, endsAt: row.previous_value_expires_at ?? 0 };
}

export async function countKeys(db: Db | Tx, filter: KeyFilter): Promise<number> {
  const { count } = await matching(db, filter)
    .select((expression) => expression.fn.countAll<number>().as("count"))
    .executeTakeFirstOrThrow();
  return Number(count);
}

function matching(db: Db | Tx, { ids, userId, userIds, named, search }: KeyFilter) {
  return db
    .selectFrom("virtual_keys")
    .$if(ids !== undefined, (query) => query.where("virtual_keys.id", "in", [...ids!]))
    .$if(userId !== undefined, (query) => query.where("user_id", "=", userId!))
    .$if(userIds !== undefined, (query) => query.where("user_id", "in", [...userIds!]))
    .$if(named !== undefined, (query) =>
      query.where((or) => or.or([or("virtual_keys.name", "=", named!), or("virtual_keys.id", "=", named!)])),
    )
    .$if(search !== undefined, (query) =>
      query.where(
        sql<boolean>`lower(virtual_keys.name) like ${`%${likeLiteral(search!.toLowerCase())}%`} escape '\\'`,
      ),
    );
}

function toKey(
  row: Row<"virtual_keys"> & { user_active: number | null },
  configs: Row<"virtual_key_upstreams">[],
): VirtualKey {
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    valueTail: row.value_tail,
    previousValueExpiresAt: row.previous_value_expires_at ?? undefined,
    hasFixedValue: row.value_from_file === 1,
    isActive: row.is_active === 1,
    expiresAt: row.expires_at ?? undefined,
    userId: row.user_id ?? undefined,
    isOwnerActive: row.user_active !== 0,
    configs: configs.map((config) => ({
      upstreamId: config.upstream_id,
      tools: JSON.parse(config.tools_json) as string[],
    })),
    source: row.source,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
