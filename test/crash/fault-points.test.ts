import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { type FaultPoint, faultPoints } from "../../src/base/index.ts";
import { type Bundle, bundle } from "./bundle.ts";
import { allDeaths, type Death, dieAll, nameOf } from "./deaths.ts";
import type { HouseOptions, Kind } from "./house.ts";
import { allMigrationDeaths, dieMigrating } from "./migrations.ts";
import type { Shape } from "./provider.ts";
import { dieRotating, onlyFromBefore, rotationDeaths } from "./rotations.ts";
import { storm } from "./storm.ts";

/** Each database with one kind of provider; all four pairs are in bench/proofs/crash.ts. */
const shapes: Record<Kind, Shape> = { sqlite: "strict", postgres: "tolerant" };
const PATIENCE = { timeout: 600_000 };
const KILLS = 5;

let program: Bundle;

beforeAll(async () => {
  program = await bundle(`${import.meta.dirname}/gateway-child.ts`);
}, PATIENCE.timeout);

afterAll(() => program?.remove());

/** Both databases at once: two gateways keep two cores busy. */
async function onBoth(work: (options: HouseOptions) => Promise<string[]>): Promise<string[]> {
  const wrong = await Promise.all(
    (["sqlite", "postgres"] as const).map(async (kind) => {
      const found = await work({ program, kind, shape: shapes[kind], postgres: inject("postgresUrl") });
      return found.map((sentence) => `${kind}: ${sentence}`);
    }),
  );
  return wrong.flat();
}

test(
  "AV-01 AV-02 AV-03 AV-04 R2 R3 R30 kill -9 at each fault point: nothing half done, nothing lost",
  PATIENCE,
  async () => {
    const wrong = await onBoth((options) => dieAll(options, deathsWith(options.shape)));
    expect(wrong).toEqual([]);
  },
);

test(
  "ST-11 kill -9 at each kind of step of an upgrade: the old schema or the new one, and every row",
  PATIENCE,
  async () => {
    const wrong = await onBoth(async (options) => {
      const deaths = await allMigrationDeaths(options);
      const last = deaths.findLast(({ at }) => at === "migrate.1.statement")!;
      const firsts = deaths.filter(({ at }, index) => deaths.findIndex((one) => one.at === at) === index);
      return dieMigrating(options, [...firsts, last]);
    });
    expect(wrong).toEqual([]);
  },
);

test(
  "kill -9 at each step of a rotation of the keys: every row opens, and the next rotation finishes it",
  PATIENCE,
  async () => {
    expect(await onBoth((options) => dieRotating(options, rotationDeaths))).toEqual([]);
  },
);

test(
  "kill -9 at random moments: what was begun is finished, nobody signs in without a reason",
  PATIENCE,
  async () => {
    const wrong = await onBoth(async (options) => {
      const result = await storm({ ...options, kills: KILLS, seed: 5, people: 3 });
      return result.wrong;
    });
    expect(wrong).toEqual([]);
  },
);

test("R30 no fault point is left out", () => {
  const driven = new Set<FaultPoint>([...allDeaths(), ...rotationDeaths].map(({ at }) => at));
  const left = faultPoints.filter(
    (point) => !driven.has(point) && nameOf(point) !== "migrate" && point !== onlyFromBefore,
  );
  expect(left).toEqual([]);
});

/** Each point once. */
function deathsWith(shape: Shape): Death[] {
  const once = new Map<FaultPoint, Death>();
  for (const death of allDeaths())
    if (!once.has(death.at) || death.shape === shape) once.set(death.at, death);
  return [...once.values()];
}
