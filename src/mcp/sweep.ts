import { sql } from "kysely";
import type { World } from "../base/index.ts";
import { type Database, deleteInBatches } from "../db/index.ts";

/** What a caller keeps under its name (`Caller.binding`) after its key or its grant has gone; anonymous ones only expire. */
const ofNobody = sql<boolean>`
  (binding like 'vk:%' and not exists (select 1 from virtual_keys where 'vk:' || virtual_keys.id = binding))
  or (binding like 'grant:%' and not exists (select 1 from grants where 'grant:' || grants.id = binding))`;

/** Deletes what was kept long enough for clients and between replicas, and what is nobody's any more. */
export async function sweepKept(database: Database, world: World): Promise<void> {
  const expired = sql<boolean>`expires_at <= ${world.now().getTime()}`;
  for (const table of [
    "finished_tasks",
    "resource_subscriptions",
    "ended_sessions",
    "replica_messages",
  ] as const)
    await deleteInBatches(database, { table, key: "id", where: expired });
  for (const table of ["finished_tasks", "resource_subscriptions"] as const)
    await deleteInBatches(database, { table, key: "id", where: ofNobody });
}
