import { type KyselyPlugin, sql } from "kysely";
import { expect, it } from "vitest";
import type { Database } from "../db/index.ts";
import { parseFilter } from "./filter.ts";
import { conditionOf } from "./filter-sql.ts";
import { onSharedDatabases, openDirectory } from "./scim.suite.ts";
import { userColumns } from "./user-columns.ts";

const PEOPLE = 10_000;

/** Counts the statements outside transactions, and the rows they bring. */
function counting(database: Database) {
  const counted = { statements: 0, rows: 0 };
  const plugin: KyselyPlugin = {
    transformQuery: ({ node }) => {
      counted.statements += 1;
      return node;
    },
    transformResult: async ({ result }) => {
      counted.rows += result.rows.length;
      return result;
    },
  };
  const db = database.db.withPlugin(plugin);
  const watched = new Proxy(database, {
    get: (target, name) => {
      if (name === "db") return db;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { watched, counted };
}

async function fill(database: Database): Promise<void> {
  const rows = Array.from({ length: PEOPLE }, (_, n) => {
    const scim = JSON.stringify({
      userName: `p${n}@example.com`,
      title: `T${n % 7}`,
      emails: [{ value: `m${n}@x` }],
    });
    return [`user_${n}`, `p${n}@example.com`, `P ${n}`, "member", 1, "scim", `ext-${n}`, scim, n, n];
  });
  await database.insertMany(
    "users",
    [
      "id",
      "email",
      "name",
      "role",
      "is_active",
      "source",
      "external_id",
      "scim_json",
      "created_at",
      "updated_at",
    ],
    rows,
  );
  await sql`analyze`.execute(database.db);
}

onSharedDatabases("ten thousand people", (database) => {
  it("a page, a filter and a count take a few statements and the rows that are shown", async () => {
    await fill(database());
    const { watched, counted } = counting(database());
    const directory = openDirectory(watched);
    for (const [query, total, rows] of [
      ["count=50&startIndex=5001", PEOPLE, 50],
      ["count=0", PEOPLE, 0],
      [`filter=${encodeURIComponent('userName eq "P77@example.com"')}`, 1, 1],
      [`filter=${encodeURIComponent('externalId eq "ext-77"')}`, 1, 1],
      [`filter=${encodeURIComponent('emails.value eq "m77@x"')}`, 1, 1],
      [`filter=${encodeURIComponent('title eq "T3"')}&count=10&sortBy=displayName`, 1429, 10],
      [`filter=${encodeURIComponent('userName sw "nobody"')}`, 0, 0],
    ] as const) {
      Object.assign(counted, { statements: 0, rows: 0 });
      const list = await directory.expect(200, "GET", `/Users?${query}`);
      expect([list.totalResults, list.Resources.length], query).toEqual([total, rows]);
      // The count, the page, and the groups of who is on it.
      expect(counted.statements, query).toBeLessThanOrEqual(3);
      expect(counted.rows, query).toBeLessThanOrEqual(1 + rows);
    }
    for (const filter of ['userName eq "p77@example.com"', 'externalId eq "ext-77"', 'id eq "user_77"']) {
      const condition = conditionOf(parseFilter(filter), userColumns(database().kind));
      const how = database().kind === "sqlite" ? sql`explain query plan` : sql`explain`;
      const plan = await sql`${how} select * from users where ${condition}`.execute(database().db);
      // An index, and not a walk over everybody.
      expect(JSON.stringify(plan.rows), filter).not.toMatch(/SCAN users|Seq Scan/);
    }
  });

  it("a group of all of them: a patch of one member reads and writes one", async () => {
    await fill(database());
    const { watched, counted } = counting(database());
    const directory = openDirectory(watched);
    const members = Array.from({ length: PEOPLE }, (_, n) => ({ value: `user_${n}` }));
    const { id } = await directory.expect(201, "POST", "/Groups?excludedAttributes=members", {
      displayName: "All",
      members,
    });
    Object.assign(counted, { statements: 0, rows: 0 });
    const bare = await directory.expect(200, "GET", `/Groups?excludedAttributes=members`);
    expect(bare.Resources).toHaveLength(1);
    expect(counted).toEqual({ statements: 2, rows: 2 });
    const told: number[] = [];
    directory.groups.listeners.push(async (_tx, ids) => void told.push(ids.length));
    expect(
      (await directory.patch(`/Groups/${id}`, { op: "remove", path: 'members[value eq "user_7"]' })).status,
    ).toBe(204);
    expect(told).toEqual([1]);
    const page = await directory.expect(200, "GET", `/Groups/${id}`);
    expect(page.members).toHaveLength(PEOPLE - 1);
  });
});
