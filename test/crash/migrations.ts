import { Kysely } from "kysely";
import { type FaultPoint, openLog } from "../../src/base/index.ts";
import { migrate } from "../../src/db/migrate.ts";
import { openPostgres } from "../../src/db/postgres.ts";
import { openSqlite } from "../../src/db/sqlite.ts";
import type { Tables } from "../../src/db/tables.ts";
import { freePort } from "../peers/free-port.ts";
import { expect } from "./expect.ts";
import { GatewayAtRisk } from "./gateway-at-risk.ts";
import { emptyDatabase, type HouseOptions } from "./house.ts";

export interface MigrationDeath {
  at: FaultPoint;
  nth: number;
}

type Options = Omit<HouseOptions, "shape">;

/** What 0.4 and its people left. */
const BEFORE = "0020-assertions";

/** Every statement of the upgrade, every migration, and the moment after. */
export async function allMigrationDeaths(options: Options): Promise<MigrationDeath[]> {
  const counts = new Map<FaultPoint, number>();
  await withOld(options, (url) =>
    withHandle(url, (db) =>
      migrate(db, options.kind, (point) => counts.set(point, (counts.get(point) ?? 0) + 1)),
    ),
  );
  return [...counts].flatMap(([at, count]) =>
    Array.from({ length: count }, (_, index) => ({ at, nth: index + 1 })),
  );
}

/** Dies all these deaths, each on the way from the version before to this one; resolves to what went wrong. */
export async function dieMigrating(options: Options, deaths: readonly MigrationDeath[]): Promise<string[]> {
  const wrong: string[] = [];
  for (const death of deaths) {
    await withOld(options, (url) => dieOnce(options, url, death)).catch((error: Error) =>
      wrong.push(`${death.at} (${death.nth}): ${error.message}`),
    );
  }
  return wrong;
}

async function dieOnce({ program, kind }: Options, url: string, death: MigrationDeath): Promise<void> {
  const port = await freePort();
  const gateway = new GatewayAtRisk({
    program,
    environment: {
      POSTERN_PORT: String(port),
      POSTERN_DATABASE_URL: url,
      POSTERN_ENCRYPTION_KEY: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64"),
      POSTERN_LOG_LEVEL: "error",
    },
  });
  const before = await withHandle(url, schemaOf);
  expect("it died", await gateway.start(death), true);
  const isNew = death.at.startsWith("migrate.3");
  await withHandle(url, async (db) => {
    expect("the schema is the old one", (await schemaOf(db)) === before, !isNew);
    await readPeople(db);
  });
  try {
    await gateway.start();
    await withHandle(url, readPeople);
    // It is this one's now: nothing is left to do.
    await withHandle(url, (db) =>
      migrate(db, kind, (point) => {
        if (point === "migrate.2.applied") throw new Error("a migration was left out");
      }),
    );
  } finally {
    await gateway.kill();
  }
}

async function withOld<T>({ kind, postgres }: Options, use: (url: string) => Promise<T>): Promise<T> {
  const { url, drop } = await emptyDatabase(kind, postgres);
  try {
    await withHandle(url, async (db) => {
      await migrate(db, kind, () => {}, BEFORE);
      const at = { created_at: 1, updated_at: 1 };
      await db
        .insertInto("users")
        .values({
          id: "user_a",
          email: "a@example.com",
          name: "A",
          password_hash: null,
          role: "admin",
          is_active: 1,
          ...at,
        })
        .execute();
    });
    return await use(url);
  } finally {
    await drop();
  }
}

async function readPeople(db: Kysely<Tables>): Promise<void> {
  const people = await db.selectFrom("users").select("email").execute();
  expect("people", people, [{ email: "a@example.com" }]);
}

/** Every column there is, as text. */
async function schemaOf(db: Kysely<Tables>): Promise<string> {
  const tables = await db.introspection.getTables();
  return tables
    .flatMap(({ name, columns }) => columns.map((column) => `${name}.${column.name} ${column.dataType}`))
    .toSorted()
    .join("\n");
}

async function withHandle<T>(url: string, use: (db: Kysely<Tables>) => Promise<T>): Promise<T> {
  const log = openLog("silent");
  const { dialect } = url.startsWith("sqlite:")
    ? openSqlite(url.slice("sqlite:".length))
    : openPostgres(url, log, { replica: "migrations", poolSize: 2 });
  const db = new Kysely<Tables>({ dialect });
  try {
    return await use(db);
  } finally {
    await db.destroy();
  }
}
