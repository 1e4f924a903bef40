import { randomBytes } from "node:crypto";
import { sql } from "kysely";
import { expect, it } from "vitest";
import { openLog, Seal, SealFault } from "../src/base/index.ts";
import { openDatabase } from "../src/db/index.ts";
import { sealedColumns } from "../src/sealed-database.ts";

/** Wrapped by a provider; no secret. */
const notSealed = ["data_keys.wrapped", "passkeys.public_key"];

it("every column of the schema that holds bytes is one a rotation knows", async () => {
  const database = await openDatabase("sqlite::memory:", openLog("silent"));
  const { rows } = await sql<{ name: string }>`
    select m.name || '.' || c.name as name from sqlite_master m, pragma_table_info(m.name) c
    where m.type = 'table' and lower(c.type) = 'blob'`.execute(database.db);
  const known = sealedColumns.map(({ table, column }) => `${table}.${column}`);
  expect(rows.map(({ name }) => name).toSorted()).toEqual([...known, ...notSealed].toSorted());
  await database.close();
});

const rowOf = (id: string) => new Proxy({}, { get: (_, name) => `${id} ${String(name)}` });
const contexts = (id: string) =>
  sealedColumns.flatMap(({ table, column, context }) =>
    context ? [{ name: `${table}.${column} of ${id}`, context: context(rowOf(id)) }] : [],
  );

function sealWith(layout: 1 | 2): Seal {
  const seal = new Seal([randomBytes(32)], randomBytes);
  const active = { bytes: randomBytes(32), direct: false };
  if (layout === 2) seal.use({ direct: [], data: [active], active });
  return seal;
}

it.each([1, 2] as const)(
  "ST-03 layout %i: a value opens in its own column and row, and in no other",
  (layout) => {
    const seal = sealWith(layout);
    const places = [...contexts("a"), ...contexts("b")];
    for (const { name, context } of places) {
      const value = seal.seal("secret", context);
      const opening = places.filter(({ context: other }) => {
        try {
          return seal.openText(value, other) === "secret";
        } catch (error) {
          expect(error).toBeInstanceOf(SealFault);
          return false;
        }
      });
      expect(opening.map((place) => place.name)).toEqual([name]);
    }
  },
);

it.each([1, 2] as const)("ST-04 layout %i: whatever is changed of a value, it does not open", (layout) => {
  const seal = sealWith(layout);
  const { context } = contexts("a")[0]!;
  const value = seal.seal("secret", context);
  const fault = (bytes: Uint8Array) => {
    try {
      seal.open(bytes, context);
    } catch (error) {
      return (error as SealFault).reason;
    }
    return undefined;
  };
  const reasonOf = (bit: number) =>
    bit < 8 && [1, 2].includes(value[0]! ^ (1 << bit)) ? "unknown_key" : "damaged";
  for (let bit = 0; bit < value.length * 8; bit++) {
    const changed = Buffer.from(value);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    const inKeyId = bit >= 8 && bit < 72;
    expect(fault(changed), `bit ${bit}`).toBe(inKeyId ? "unknown_key" : reasonOf(bit));
  }
  for (let length = 0; length < value.length; length++)
    expect(fault(value.subarray(0, length))).toBe("damaged");
  expect(fault(Buffer.from("a plain text that is long enough to be a sealed value of either layout"))).toBe(
    "damaged",
  );
  expect(fault(Buffer.concat([value, Buffer.alloc(10 * 1024 * 1024)]))).toBe("damaged");
});

it("ST-08 no nonce comes twice, over restarts and replicas, and no two values share a key", () => {
  const active = { bytes: randomBytes(32), direct: false };
  const salts = new Set<string>();
  for (let start = 0; start < 3; start++) {
    for (let replica = 0; replica < 2; replica++) {
      const seal = new Seal([], randomBytes);
      seal.use({ direct: [], data: [active], active });
      for (let i = 0; i < 1_700; i++)
        salts.add(seal.seal("the same", ["credentials"]).subarray(9, 33).toString("hex"));
    }
  }
  expect(salts.size).toBe(3 * 2 * 1_700);
});
