import { sql } from "kysely";
import { type Database, deleteInBatches, inBatches, oneBatch, type Row } from "../db/index.ts";
import { CODE_MS } from "./code.ts";
import type { Ending, Grants } from "./grants.ts";
import type { IssuerParts } from "./parts.ts";

type Parts = Pick<IssuerParts, "world" | "database">;

/** Each of these ends in a transaction of its own. */
const GRANTS_AT_ONCE = 100;
const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * For jobs.ts, safe on several replicas: ends grants that are over and grants whose code was never redeemed, drops expired
 * tokens and successors past their grace, and clients without a grant.
 */
export async function sweepIssued(parts: Parts, grants: Grants, graceMs: number): Promise<void> {
  const { database } = parts;
  const now = parts.world.now().getTime();
  await sweepPending(parts, grants, now);
  await sweepOver(parts, grants, now);
  await deleteInBatches(database, { table: "tokens", key: "hash", where: sql`expires_at <= ${now}` });
  await forgetSuccessors(database, now - graceMs);
  await sweepClients(database, now);
}

/** Their codes were never redeemed. */
async function sweepPending(parts: Parts, grants: Grants, now: number): Promise<void> {
  await inBatches(async () => {
    const pending = await parts.database.db
      .selectFrom("grants")
      .select("id")
      .where("status", "=", "pending")
      .where("created_at", "<=", now - CODE_MS)
      .limit(GRANTS_AT_ONCE)
      .execute();
    for (const { id } of pending) await endInOwn(parts, grants, id, "grant.not_redeemed", "pending");
    return pending.length;
  }, GRANTS_AT_ONCE);
}

async function sweepOver(parts: Parts, grants: Grants, now: number): Promise<void> {
  // By id: one that was used since its `idle_until` was written is passed by, not met again.
  let after = "";
  await inBatches(async () => {
    const over: Row<"grants">[] = await parts.database.db
      .selectFrom("grants")
      .selectAll()
      .where("id", ">", after)
      .where((or) => or.or([or("ends_at", "<=", now), or("idle_until", "<=", now)]))
      .orderBy("id")
      .limit(GRANTS_AT_ONCE)
      .execute();
    for (const grant of over)
      if (!grants.isAlive(grant, now)) await endInOwn(parts, grants, grant.id, "grant.expired");
    after = over.at(-1)?.id ?? after;
    return over.length;
  }, GRANTS_AT_ONCE);
}

async function endInOwn(
  { database }: Parts,
  grants: Grants,
  id: string,
  event: Ending["event"],
  status?: "pending",
): Promise<void> {
  await database.transaction((tx) => grants.end(tx, id, { event, actor: "system" }, status));
}

async function forgetSuccessors(database: Database, before: number): Promise<void> {
  const where = sql<boolean>`sealed_successor is not null and rotated_at <= ${before}`;
  await inBatches(async () => {
    const { numUpdatedRows } = await database.db
      .updateTable("tokens")
      .set({ sealed_successor: null })
      .where(oneBatch(database, { table: "tokens", key: "hash", where }))
      .executeTakeFirstOrThrow();
    return Number(numUpdatedRows);
  });
}

/**
 * A client that registered itself is known by its id alone; its row serves its grants. Where a consent is just making one,
 * the foreign key keeps the row or the consent writes it anew.
 */
async function sweepClients(database: Database, now: number): Promise<void> {
  const unused = sql<boolean>`kind <> 'static' and created_at <= ${now - DAY_MS}
    and not exists (select 1 from grants where grants.client_row_id = clients.id)`;
  await deleteInBatches(database, { table: "clients", key: "id", where: unused });
}
