import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DummyDriver, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from "kysely";
import { expect, it } from "vitest";
import { freshPostgresDatabase } from "../../test/postgres/database.ts";
import { onBothDatabases } from "../../test/support/databases.ts";
import { openLog } from "../base/index.ts";
import { openDatabase } from "./index.ts";
import { migrationNames } from "./migrate.ts";

const FOLDER = join(import.meta.dirname, "migrations");
/** The last one before versions were replaced one replica after the other. */
const FIRST_STEPS = "0020";

/** The SQL of a migration, as Postgres would get it. */
async function statementsOf(name: string): Promise<string[]> {
  const statements: string[] = [];
  const db = new Kysely<unknown>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
    log: ({ query }) => void statements.push(query.sql),
  });
  const { up } = await import(join(FOLDER, `${name}.ts`));
  await up(db, { time: "bigint", blob: "bytea" });
  return statements;
}

/**
 * What a replica of the version before would not notice: something new beside what there is. `made`: tables, and columns as
 * `table.column`, that are new themselves; a new column stays null in what that replica writes, and nulls are never alike.
 */
function isAdditive(statement: string, made: ReadonlySet<string>): boolean {
  const table = /^create table (?:if not exists )?"(\w+)"/.exec(statement)?.[1];
  if (table !== undefined) return true;
  const index = /^create (unique )?index "\w+" on "(\w+)" \("(\w+)"/.exec(statement);
  if (index) return index[1] === undefined || made.has(index[2]!) || made.has(`${index[2]}.${index[3]}`);
  const added = /^alter table "(\w+)" add column "\w+" \w+(.*)$/.exec(statement);
  if (added)
    return (
      made.has(added[1]!) || !/not null|unique|check|references/.test(added[2]!) || /default/.test(added[2]!)
    );
  return made.has(/^(?:insert into|update) "(\w+)"/.exec(statement)?.[1] ?? "");
}

it("AV-26 every migration only adds, so replicas of the version before go on beside it", async () => {
  const names = readdirSync(FOLDER)
    .map((file) => file.replace(/\.ts$/, ""))
    .filter((name) => name > `${FIRST_STEPS}~`)
    .toSorted();
  expect(names.every((name) => migrationNames.includes(name))).toBe(true);
  const made = new Set<string>();
  const others: string[] = [];
  for (const name of names)
    for (const statement of await statementsOf(name)) {
      const table = /^create table (?:if not exists )?"(\w+)"/.exec(statement)?.[1];
      if (table !== undefined) made.add(table);
      const column = /^alter table "(\w+)" add column "(\w+)" text$/.exec(statement);
      if (column) made.add(`${column[1]}.${column[2]}`);
      if (!isAdditive(statement, made)) others.push(`${name}: ${statement}`);
    }
  expect(names.length).toBeGreaterThan(0);
  expect(others).toEqual([]);
});

it.each([
  'alter table "grants" drop column "scope"',
  'alter table "grants" add column "x" text not null',
  'alter table "grants" rename column "scope" to "scopes"',
  'create unique index "x" on "grants" ("id")',
  'update "grants" set "scope" = 1',
  'drop table "grants"',
])("AV-26 %s would not be let through", (statement) => {
  expect(isAdditive(statement, new Set())).toBe(false);
});

onBothDatabases("migrating", (open, kind) => {
  it("ST-11 refuses a database of a newer version with a sentence, and leaves it alone", async () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-newer-"));
    try {
      const at = kind === "sqlite" ? `sqlite:${join(folder, "postern.db")}` : (await open()).url;
      const first = await openDatabase(at, openLog("silent"));
      await first.db
        .withTables<{ kysely_migration: { name: string; timestamp: string } }>()
        .insertInto("kysely_migration")
        .values({ name: "9999-from-the-future", timestamp: "" })
        .execute();
      await first.close();
      await expect(openDatabase(at, openLog("silent"))).rejects.toMatchObject({
        name: "NewerSchema",
        message: expect.stringMatching(/newer version of Postern.*9999-from-the-future/),
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

it("ST-11 replicas that start at once on an empty Postgres migrate it once", async () => {
  const { url, drop } = await freshPostgresDatabase();
  const opened = await Promise.all(Array.from({ length: 4 }, () => openDatabase(url, openLog("silent"))));
  const names = await opened[0]!.db
    .withTables<{ kysely_migration: { name: string } }>()
    .selectFrom("kysely_migration")
    .select("name")
    .orderBy("name")
    .execute();
  expect(names.map(({ name }) => name)).toEqual([...migrationNames]);
  for (const database of opened) await database.close();
  await drop();
});
