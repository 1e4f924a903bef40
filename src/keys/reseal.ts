import { setImmediate, setTimeout } from "node:timers/promises";
import { type RawBuilder, sql } from "kysely";
import { type Seal, SealFault, type World } from "../base/index.ts";
import type { Database, Db, SealedColumn, Tx } from "../db/index.ts";
import type { DataKeys } from "./data-keys.ts";

/** Rows of one step: a few milliseconds of a SQLite file's one writer. */
const BATCH = 400;
const HEADER_BYTES = 9;

export interface ResealParts {
  world: World;
  database: Database;
  seal: Seal;
  columns: readonly SealedColumn[];
}

export interface Pass {
  resealed: number;
  /** Values that did not open: left as they are. */
  unreadable: number;
  /** Milliseconds it took. */
  ms: number;
}

type Found = Record<string, string> & { sealed: Uint8Array; key: string };

/** How many values each key has sealed, by what they begin with (hexadecimal). */
export async function countSealed(
  db: Db | Tx,
  columns: readonly SealedColumn[],
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (const { table, column } of columns) {
    const header = sql`substr(${sql.ref(column)}, 1, ${sql.lit(HEADER_BYTES)})`;
    const { rows } = await sql<{ header: Uint8Array; count: number | string }>`
      select ${header} as header, count(*) as count from ${sql.table(table)}
      where ${sql.ref(column)} is not null group by 1`.execute(db);
    for (const row of rows) {
      const name = Buffer.from(row.header).toString("hex");
      counts.set(name, (counts.get(name) ?? 0) + Number(row.count));
    }
  }
  return counts;
}

/**
 * Seals anew, with the key that seals now, whatever another key has sealed. Where it was interrupted, the next pass goes
 * on: the values themselves tell. A value that changes meanwhile is left to who changed it.
 */
export async function resealAll(
  parts: ResealParts & { keys: Pick<DataKeys, "renew"> },
  told: (pass: Pass) => void,
): Promise<Pass> {
  const pass: Pass = { resealed: 0, unreadable: 0, ms: 0 };
  const begun = performance.now();
  for (const column of parts.columns) {
    if (!column.context) continue;
    for (let after: string | undefined = ""; after !== undefined; ) {
      const from: string = after;
      const started = performance.now();
      // Another rotation may have begun: sealing with the key before it would undo its work.
      await parts.keys.renew();
      after = await resealBatch(parts, column, from, pass);
      pass.ms = performance.now() - begun;
      told(pass);
      // Whoever serves meanwhile gets a turn at the database as well.
      if (after !== undefined) await setTimeout(Math.min(25, (performance.now() - started) / 2));
    }
  }
  return pass;
}

/** One step; resolves to where the next one goes on, undefined at the end. */
async function resealBatch(
  parts: ResealParts,
  column: SealedColumn,
  after: string,
  pass: Pass,
): Promise<string | undefined> {
  const found = await findOthers(parts, column, after);
  const changes = found.flatMap((row) => {
    const fresh = sealAnew(parts.seal, column, row);
    if (!fresh) pass.unreadable += 1;
    return fresh ? [{ key: row.key, old: row.sealed, fresh }] : [];
  });
  pass.resealed += await replace(parts.database, column, changes);
  parts.world.reach("keys.4.batch_resealed");
  return found.length < BATCH ? undefined : found.at(-1)!.key;
}

function findOthers(parts: ResealParts, column: SealedColumn, after: string): Promise<Found[]> {
  const others = sql`substr(${sql.ref(column.column)}, 1, ${sql.lit(HEADER_BYTES)}) <> ${parts.seal.header}`;
  return findSealed(parts, column, after, others);
}

async function findSealed(
  { database }: Pick<ResealParts, "database">,
  { table, column, key, reads }: SealedColumn,
  after: string,
  which: RawBuilder<unknown>,
): Promise<Found[]> {
  const names = [sql`${sql.ref(key)} as key`, sql`${sql.ref(column)} as sealed`];
  const { rows } = await sql<Found>`
    select ${sql.join([...names, ...reads.map((name) => sql.ref(name))])} from ${sql.table(table)}
    where ${sql.ref(key)} > ${after} and ${which}
    order by ${sql.ref(key)} limit ${sql.lit(BATCH)}`.execute(database.db);
  return rows;
}

/** Every sealed value of a column, some at a time. */
export async function eachSealed(
  parts: ResealParts,
  column: SealedColumn,
  visit: (row: Found) => void,
): Promise<void> {
  const all = sql`${sql.ref(column.column)} is not null`;
  for (let after = ""; ; ) {
    const found = await findSealed(parts, column, after, all);
    found.forEach(visit);
    if (found.length < BATCH) return;
    after = found.at(-1)!.key;
    await setImmediate();
  }
}

function sealAnew(seal: Seal, { key, context }: SealedColumn, row: Found): Buffer | undefined {
  const place = context!({ ...row, [key]: row.key });
  try {
    const plaintext = seal.open(row.sealed, place);
    const fresh = seal.seal(plaintext, place);
    plaintext.fill(0);
    return fresh;
  } catch (error) {
    if (error instanceof SealFault) return undefined;
    throw error;
  }
}

/** By compare-and-set on the old value, so that no refresh is lost (ST-07). One statement for all of them. */
async function replace(
  { db, kind }: Database,
  { table, column, key }: SealedColumn,
  changes: readonly { key: string; old: Uint8Array; fresh: Uint8Array }[],
): Promise<number> {
  if (changes.length === 0) return 0;
  const bytes = (value: Uint8Array) => (kind === "postgres" ? sql`${value}::bytea` : sql`${value}`);
  const values = changes.map((one) => sql`(${one.key}, ${bytes(one.old)}, ${bytes(one.fresh)})`);
  const { numAffectedRows } = await sql`
    with anew (row_key, old, fresh) as (values ${sql.join(values)})
    update ${sql.table(table)} set ${sql.ref(column)} = anew.fresh from anew
    where ${sql.table(table)}.${sql.ref(key)} = anew.row_key and ${sql.table(table)}.${sql.ref(column)} = anew.old`.execute(
    db,
  );
  return Number(numAffectedRows ?? 0);
}
