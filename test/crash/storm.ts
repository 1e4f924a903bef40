import { setTimeout } from "node:timers/promises";
import { type FaultPoint, faultPoints } from "../../src/base/index.ts";
import { nameOf } from "./deaths.ts";
import { House, type HouseOptions } from "./house.ts";
import { operations } from "./operations/index.ts";
import { Resident } from "./resident.ts";

export interface StormOptions extends HouseOptions {
  kills: number;
  seed: number;
  people?: number;
  /** No death begins later than this, in milliseconds from the start. */
  withinMs?: number;
  /** Told after every death. */
  onKill?(done: number): void;
}

export interface StormResult {
  kills: number;
  /** Deaths at a fault point, by its name; the others were at some moment. */
  atPoints: Record<string, number>;
  /** What people and clients got done meanwhile, by what it was. */
  done: Record<string, number>;
  /** Times that somebody had to sign in again, because the provider had ended the family of a lost refresh token. */
  prompts: number;
  /** Consents at the provider whose tokens nobody holds: given, and lost on the way to the database. */
  orphans: number;
  /** What is not as it must be; none is what is to be shown. */
  wrong: string[];
}

const DAY_MS = 24 * 60 * 60_000;
/** Longer than a dead process holds the right to refresh. */
const LEASE_MS = 31_000;
const LONGEST_LIFE_MS = 600;
const LONGEST_WAIT_MS = 1500;
const MOST_WRONG = 20;

/**
 * People connect, call, renew and take back, all at once, while the gateway is killed again and again: half of the times at
 * some moment, else at a fault point. After each death the rows are looked at, and everybody goes on where they were.
 */
export async function storm(options: StormOptions): Promise<StormResult> {
  const { kills, seed, people = 4, withinMs = Number.POSITIVE_INFINITY, onKill } = options;
  const begun = performance.now();
  let dead = 0;
  const random = randomFrom(seed);
  const house = await House.open(options);
  // From a token that ends at once to one that lives until the next start.
  house.provider.lifetime = () => 1 + Math.floor(random() * 40);
  const wrong: string[] = [];
  const atPoints: Record<string, number> = {};
  const residents = await Promise.all(
    Array.from({ length: people }, (_, index) => Resident.moveIn(house, `resident ${index}`, random)),
  );
  const lives = residents.map((resident) => resident.live());
  try {
    for (let kill = 0; kill < kills && wrong.length < MOST_WRONG; kill++) {
      if (performance.now() - begun > withinMs) break;
      dead += 1;
      const point = await deathOf(house, random);
      if (point) atPoints[point] = (atPoints[point] ?? 0) + 1;
      await house.look(async () => {}).catch((error: Error) => wrong.push(`kill ${kill}: ${error.message}`));
      await house.gateway.start();
      for (const resident of residents) resident.back();
      // Half a minute is all that a client has to ask again for tokens whose answer it lost.
      await Promise.all(residents.map((resident) => resident.renewed()));
      await house.gateway.advance(LEASE_MS);
      onKill?.(kill + 1);
    }
    for (const resident of residents) resident.leave();
    await Promise.all(lives);
    const orphans = await settle(house, residents, wrong);
    return {
      kills: dead,
      atPoints,
      done: sum(residents.map(({ done }) => done)),
      prompts: residents.reduce((count, { prompts }) => count + prompts, 0),
      orphans,
      wrong: [...wrong, ...residents.flatMap((resident) => resident.wrong)],
    };
  } finally {
    for (const resident of residents) resident.leave();
    await house.close();
  }
}

const points = faultPoints.filter((point) => nameOf(point) in operations);

/** Resolves when the gateway is dead, to the point where that was. */
async function deathOf({ gateway }: House, random: () => number): Promise<FaultPoint | undefined> {
  if (random() < 0.5) {
    await setTimeout(random() * LONGEST_LIFE_MS);
    await gateway.kill();
    return undefined;
  }
  const point = points[Math.floor(random() * points.length)]!;
  await gateway.die(point, 1 + Math.floor(random() * 2));
  // The jobs are what tells providers.
  if (point.startsWith("deliver.")) void gateway.jobs();
  if (await gateway.gone(LONGEST_WAIT_MS)) return point;
  await gateway.kill();
  return undefined;
}

/** Some days later nothing is left of what nobody finished, and every provider has heard what it was to hear. */
async function settle(house: House, residents: readonly Resident[], wrong: string[]): Promise<number> {
  for (let day = 0; day < 2; day++) {
    await house.gateway.advance(DAY_MS);
    for (let turn = 0; turn < 3; turn++) await house.gateway.jobs();
  }
  for (const resident of residents) wrong.push(...resident.stillAlive());
  await house.gateway.kill();
  await house.look(async ({ db }) => {
    const outbox = await db.selectFrom("outbox").select("id").execute();
    const pending = await db.selectFrom("grants").select("id").where("status", "=", "pending").execute();
    const waiting = await db
      .selectFrom("credentials")
      .select("id")
      .where("owner_mode", "=", "flow")
      .execute();
    if (outbox.length > 0) wrong.push(`${outbox.length} revocations were never delivered`);
    if (pending.length > 0) wrong.push(`${pending.length} grants wait for their code for ever`);
    if (waiting.length > 0) wrong.push(`${waiting.length} credentials are left of consents that are over`);
  });
  const held = new Set(residents.map((resident) => house.provider.lastUsed.get(resident.name)));
  return house.provider.families.filter((family) => family.ended === "" && !held.has(family)).length;
}

function sum(counts: readonly Record<string, number>[]): Record<string, number> {
  const all: Record<string, number> = {};
  for (const one of counts)
    for (const [name, count] of Object.entries(one)) all[name] = (all[name] ?? 0) + count;
  return all;
}

/** A sequence that the seed decides (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
