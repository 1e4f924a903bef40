import { sql } from "kysely";
import { migrate, migrationNames } from "../migrate.ts";
import type { Tx } from "../open.ts";
import type { Tables } from "../tables.ts";
import { BackupFault, type Column, type Header, type Value } from "./format.ts";
import { type Piece, readBackup } from "./read.ts";
import { backedUp } from "./table-order.ts";

type Kind = "sqlite" | "postgres";

export interface LoadOptions {
  path: string;
  progress?(table: string, rows: number): void;
}

/**
 * Fills an empty database from a backup of either kind: the schema as the backup knew it, its rows, and then what has
 * been added to the schema since. All in the transaction given: a fault takes everything back. Throws `BackupFault`.
 */
export async function loadBackup(tx: Tx, kind: Kind, { path, progress }: LoadOptions): Promise<Header> {
  const loading = new Loading(tx, kind);
  for await (const piece of readBackup(path)) {
    await loading.take(piece);
    progress?.(loading.table, loading.rows);
  }
  await migrate(tx, kind, () => {});
  return loading.header!;
}

/** Refuses what this version cannot bring up to date. */
export function checkVersion({ migrations, postern }: Header): void {
  const known = migrationNames.slice(0, migrations.length);
  if (migrations.length > 0 && migrations.every((name, at) => name === known[at])) return;
  throw new BackupFault(
    `The backup was made with Postern ${postern}, whose database this version does not know. Restore it with that version or a newer one.`,
  );
}

class Loading {
  readonly #tx: Tx;
  readonly #kind: Kind;
  #insert: ((rows: Value[][]) => Promise<void>) | undefined;
  header: Header | undefined;
  table = "";
  rows = 0;

  constructor(tx: Tx, kind: Kind) {
    this.#tx = tx;
    this.#kind = kind;
  }

  async take(piece: Piece): Promise<void> {
    if (piece.kind === "header") {
      this.header = piece.header;
      checkVersion(piece.header);
      await migrate(this.#tx, this.#kind, () => {}, piece.header.migrations.at(-1));
      await this.#empty();
    } else if (piece.kind === "table") {
      this.table = piece.table;
      this.#insert = await this.#into(piece.table, piece.columns);
    } else if (piece.kind === "rows") {
      await this.#insert!(piece.rows);
      this.rows += piece.rows.length;
    }
  }

  /** What migrations put there is in the backup too, as it became. */
  async #empty(): Promise<void> {
    const present = await this.#present();
    for (const table of backedUp.toReversed())
      if (present.has(table)) await sql`delete from ${sql.table(table)}`.execute(this.#tx);
  }

  async #present(): Promise<Map<string, Set<string>>> {
    const tables = await this.#tx.introspection.getTables();
    return new Map(tables.map(({ name, columns }) => [name, new Set(columns.map((column) => column.name))]));
  }

  /** The names go into statements: only those that the schema has. */
  async #into(table: string, columns: readonly Column[]): Promise<(rows: Value[][]) => Promise<void>> {
    const names = backedUp.includes(table as keyof Tables) ? (await this.#present()).get(table) : undefined;
    const strange = names && columns.find(({ name }) => !names.has(name));
    if (!names || strange)
      throw new BackupFault(
        `The backup has ${strange ? `${table}.${strange.name}` : table}, which its version has not.`,
      );
    return this.#kind === "sqlite"
      ? (rows) => insertSqlite(this.#tx, table, columns, rows)
      : (rows) => insertPostgres(this.#tx, table, columns, rows);
  }
}

/** The whole batch as one parameter: building a statement with thousands of them costs more than the rows. */
async function insertSqlite(
  tx: Tx,
  table: string,
  columns: readonly Column[],
  rows: Value[][],
): Promise<void> {
  const source = JSON.stringify(rows.map((row) => row.map((value) => hexed(value, ""))));
  const names = sql.join(columns.map(({ name }) => sql.ref(name)));
  const values = sql.join(
    columns.map(({ bytes }, at) => {
      const value = sql`value ->> ${sql.lit(`$[${at}]`)}`;
      return bytes ? sql`unhex(${value})` : value;
    }),
  );
  await sql`insert into ${sql.table(table)} (${names}) select ${values} from json_each(${source})`.execute(
    tx,
  );
}

async function insertPostgres(
  tx: Tx,
  table: string,
  columns: readonly Column[],
  rows: Value[][],
): Promise<void> {
  const records = rows.map((row) =>
    Object.fromEntries(columns.map(({ name }, at) => [name, hexed(row[at]!, "\\x")])),
  );
  const names = sql.join(columns.map(({ name }) => sql.ref(name)));
  const source = sql`json_populate_recordset(null::${sql.table(table)}, ${JSON.stringify(records)}::json)`;
  await sql`insert into ${sql.table(table)} (${names}) select ${names} from ${source}`.execute(tx);
}

function hexed(value: Value, prefix: string): Exclude<Value, Uint8Array> {
  return value instanceof Uint8Array ? prefix + Buffer.from(value).toString("hex") : value;
}
