import { BATCH_ROWS, type Database, type Tx } from "../db/index.ts";
import type { Rules } from "./decide.ts";
import { readGroupConfigs } from "./group-configs.ts";
import { readKeys } from "./key-rows.ts";
import { rulesOfKey, rulesOfUser, type Shared } from "./rules.ts";
import { readUserConfigs } from "./user-configs.ts";
import type { KeyConfig, VirtualKey } from "./virtual-key.ts";

/** The ids of owners that have something at upstreams, or are about to: a credential, or an open flow. */
export interface Holders {
  users: string[];
  keys: string[];
}

/** Who holds something at this upstream. */
export async function holdersOf(tx: Tx, upstreamId: string): Promise<Holders> {
  const rows = await holding(tx)
    .where("upstream_id", "=", upstreamId)
    .union(opened(tx).where("upstream_id", "=", upstreamId))
    .execute();
  const of = (mode: string) =>
    rows.filter(({ owner_mode }) => owner_mode === mode).map(({ owner_id }) => owner_id);
  return { users: of("user"), keys: of("vk") };
}

/** Which of these people hold something at any upstream; who does not has nothing that could be lost. */
export async function holdersAmong(tx: Tx, userIds: readonly string[]): Promise<string[]> {
  const ids = [...userIds];
  const rows = await holding(tx)
    .where("owner_mode", "=", "user")
    .where("owner_id", "in", ids)
    .union(opened(tx).where("owner_mode", "=", "user").where("owner_id", "in", ids))
    .execute();
  return rows.map(({ owner_id }) => owner_id);
}

function holding(tx: Tx) {
  return tx
    .selectFrom("credentials")
    .select(["owner_mode", "owner_id"])
    .where("owner_mode", "in", ["user", "vk"]);
}

function opened(tx: Tx) {
  return tx
    .selectFrom("flows")
    .select((expression) => [
      expression.ref("owner_mode").$notNull().as("owner_mode"),
      expression.ref("owner_id").$notNull().as("owner_id"),
    ])
    .where("ended_at", "is", null)
    .where("upstream_id", "is not", null)
    .where("owner_mode", "in", ["user", "vk"]);
}

/** Inside the transaction, because the memory still shows what was before it. */
export async function readShared(tx: Tx): Promise<Shared[]> {
  const rows = await tx.selectFrom("upstreams").select(["id", "allow_on_all_virtual_keys"]).execute();
  return rows.map((row) => ({ id: row.id, allowOnAllVirtualKeys: row.allow_on_all_virtual_keys === 1 }));
}

/** What keys without a person may use, read in the transaction. */
export async function rulesOfKeys(
  tx: Tx,
  keyIds: readonly string[],
  upstreams: readonly Shared[],
): Promise<Map<string, Rules>> {
  const keys = await readKeys(tx, { ids: keyIds });
  return new Map(keys.map((key) => [key.id, rulesOfKey(key.configs, upstreams)]));
}

/**
 * What these people may use by their groups, their keys and their own rows, read in the transaction: five statements, however
 * many they are. Of two changes that concern one person the second waits here, and sees the first: each alone might find that
 * the other still gives what both take.
 */
export async function rulesOfPeople(
  { kind }: Pick<Database, "kind">,
  tx: Tx,
  userIds: readonly string[],
  given: { upstreams: readonly Shared[]; usable(keys: readonly VirtualKey[]): VirtualKey[] },
): Promise<Map<string, Rules>> {
  const ids = [...userIds].sort();
  if (kind === "postgres")
    await tx.selectFrom("users").select("id").where("id", "in", ids).orderBy("id").forNoKeyUpdate().execute();
  const keys = Map.groupBy(given.usable(await readKeys(tx, { userIds: ids })), (key) => key.userId!);
  const own = await readUserConfigs(tx, ids);
  const groups = await readMemberships(tx, ids);
  const configs = await readGroupConfigs(tx, [...new Set([...groups.values()].flat())]);
  // Most members of a group have what it gives and nothing else.
  const alike = new Map<string, Rules>();
  return new Map(
    ids.map((id) => {
      const mine = groups.get(id) ?? [];
      const byGroup = mine.flatMap((groupId): readonly KeyConfig[] => configs.get(groupId) ?? []);
      const isPlain = !own.has(id) && !keys.has(id);
      const known = isPlain ? alike.get(mine.join()) : undefined;
      const rules =
        known ?? rulesOfUser([...(own.get(id) ?? []), ...byGroup], keys.get(id) ?? [], given.upstreams);
      if (isPlain) alike.set(mine.join(), rules);
      return [id, rules];
    }),
  );
}

async function readMemberships(tx: Tx, userIds: readonly string[]): Promise<Map<string, string[]>> {
  const rows = await tx
    .selectFrom("group_members")
    .select(["user_id", "group_id"])
    .where("user_id", "in", [...userIds])
    .orderBy("group_id")
    .execute();
  const byUser = Map.groupBy(rows, (row) => row.user_id);
  return new Map([...byUser].map(([userId, own]) => [userId, own.map(({ group_id }) => group_id)]));
}

export function* batchesOf<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += BATCH_ROWS) yield all.slice(at, at + BATCH_ROWS);
}
