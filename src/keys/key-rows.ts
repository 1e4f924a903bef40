import { sql } from "kysely";
import type { Database, Db, NewRow, Row, Tx } from "../db/index.ts";

export type KeyRow = Row<"data_keys">;

/** Oldest first. */
export function readKeys(db: Db | Tx): Promise<KeyRow[]> {
  return db.selectFrom("data_keys").selectAll().orderBy("created_at").orderBy("id").execute();
}

/** What tells whether a database is new, and whether the configured key fits: the sealed key of all keyed hashes. */
export async function readCheckValue(db: Db | Tx): Promise<Uint8Array | undefined> {
  const query = db.selectFrom("instance").select("sealed").where("name", "=", "hash_key");
  return (await query.executeTakeFirst())?.sealed;
}

/** Makes the first keys, or the next one, unless somebody was faster. */
export function insertKeys(
  database: Database,
  keys: readonly NewRow<"data_keys">[],
  now: number,
  stillWanted: (rows: readonly KeyRow[]) => boolean,
): Promise<boolean> {
  return database.transaction(async (tx) => {
    await database.hold(tx, ["data_keys"]);
    if (!stillWanted(await readKeys(tx))) return false;
    await tx
      .insertInto("data_keys")
      .values([...keys])
      .execute();
    await tellOthers(database, tx, now);
    return true;
  });
}

/** The next key becomes the one that seals, and `following` the next. False: somebody else did that. */
export function activate(
  database: Database,
  next: string,
  following: NewRow<"data_keys">,
  now: number,
): Promise<boolean> {
  return database.transaction(async (tx) => {
    await database.hold(tx, ["data_keys"]);
    const keys = await readKeys(tx);
    if (keys.find(({ state }) => state === "next")?.id !== next) return false;
    const retired = { state: "retired" as const, retired_at: now };
    await tx.updateTable("data_keys").set(retired).where("state", "=", "active").execute();
    await tx.updateTable("data_keys").set({ state: "active" }).where("id", "=", next).execute();
    await tx.insertInto("data_keys").values(following).execute();
    await tellOthers(database, tx, now);
    return true;
  });
}

/** By compare-and-set on the old wrapping. */
export async function rewrap(
  { db }: Database,
  row: KeyRow,
  { provider, wrapped, wrapped_by }: Pick<KeyRow, "provider" | "wrapped" | "wrapped_by">,
): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable("data_keys")
    .set({ provider, wrapped, wrapped_by })
    .where("id", "=", row.id)
    .where("wrapped", "=", row.wrapped)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** Whether a database that may be of an older version, or empty, has this table. */
export async function hasTable(db: Db, kind: Database["kind"], table: string): Promise<boolean> {
  const query =
    kind === "sqlite"
      ? sql`select 1 from sqlite_master where type = 'table' and name = ${table}`
      : sql`select 1 where to_regclass(${table}) is not null`;
  return (await query.execute(db)).rows.length > 0;
}

/** Whether a gateway has ever started on this database. */
export function isPosterns(db: Db, kind: Database["kind"]): Promise<boolean> {
  return hasTable(db, kind, "instance");
}

export const topic = "data_keys";

function tellOthers(database: Database, tx: Tx, now: number): Promise<void> {
  return database.changes.note(tx, topic, "all", now);
}
