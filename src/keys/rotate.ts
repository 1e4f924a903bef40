import { setTimeout } from "node:timers/promises";
import { type DataKey, dataKeyId } from "../base/index.ts";
import type { DataKeys } from "./data-keys.ts";
import { activate, insertKeys, readKeys, rewrap } from "./key-rows.ts";
import { countSealed, type Pass, type ResealParts, resealAll } from "./reseal.ts";

/** Until every replica knows what changed: they look every five seconds. */
const SETTLE_MS = 15_000;

export interface RotateParts extends ResealParts {
  keys: DataKeys;
  /** Configured keys that may have sealed values themselves. */
  direct: readonly Uint8Array[];
  /** Shorter in a test. */
  settleMs?: number;
}

export interface RotateOptions {
  /** A new data key, and everything sealed with it. Else only the wrapping changes, and what was left over is sealed anew. */
  newDataKey: boolean;
  told?(step: Step): void;
}

/** What happens, as it happens. */
export type Step =
  | { step: "rewrapped"; keys: number; by: string }
  | { step: "waiting"; ms: number; why: "next_key_is_new" | "replicas_follow" }
  | { step: "activated"; key: string }
  | { step: "resealing"; done: number; remaining: number; ms: number };

export interface Rotated {
  rewrapped: number;
  activated: boolean;
  resealed: number;
  /** Values that no key opens; their owners have to connect again. */
  unreadable: number;
  /** Milliseconds of sealing anew, without the waiting before and after. */
  ms: number;
  /** A new data key was asked for, but an earlier rotation was not over: that one is now. */
  onlyFinished: boolean;
}

/**
 * Online, and as often as one likes: interrupted it goes on where it was, and two at once do each other no harm. Rejects
 * as a provider does.
 */
export async function rotateKeys(parts: RotateParts, options: RotateOptions): Promise<Rotated> {
  const { keys } = parts;
  const told = options.told ?? (() => {});
  await keys.renew();
  await keepDirectKeys(parts);
  const rewrapped = await rewrapAll(parts);
  told({ step: "rewrapped", keys: rewrapped, by: keys.primary.key });
  const leftOver = keys.active ? await resealWhatIsLeft(parts, told) : { resealed: 0, unreadable: 0, ms: 0 };
  const begins = !keys.active || (options.newDataKey && leftOver.resealed === 0);
  const activated = begins && (await takeNext(parts, told));
  const pass = begins ? await resealTwice(parts, told) : leftOver;
  const onlyFinished = options.newDataKey && !begins;
  return { rewrapped, activated, ...pass, onlyFinished };
}

/**
 * Keys that sealed values themselves become retired data keys: what they sealed and a client holds goes on opening when
 * they are no longer configured.
 */
async function keepDirectKeys({ keys, database, world, direct }: RotateParts): Promise<void> {
  if (keys.active) return;
  const rows = await readKeys(database.db);
  for (const [index, bytes] of direct.entries()) {
    const key: DataKey = { bytes, direct: true };
    if (rows.some(({ id }) => id === dataKeyId(key))) continue;
    // The first of them has always sealed ids that must stay what they are: it stays the oldest.
    const row = { ...(await keys.wrap(key, "retired", rows)), created_at: index };
    await insertKeys(
      database,
      [row],
      world.now().getTime(),
      (there) => !there.some(({ id }) => id === row.id),
    );
    world.reach("keys.1.direct_key_kept");
  }
  await keys.renew();
}

/** Only the data keys: how many values there are does not matter. */
async function rewrapAll({ keys, database, world }: RotateParts): Promise<number> {
  const { primary } = keys;
  let count = 0;
  for (const row of await readKeys(database.db)) {
    // A provider elsewhere may have a new version of its key under the same name: it always wraps anew.
    const same = row.provider === primary.type && row.wrapped_by === primary.key;
    if (same && primary.type === "local") continue;
    const fresh = await keys.wrap(keys.bytesOf(row), row.state, [row]);
    if (await rewrap(database, row, fresh)) count += 1;
    world.reach("keys.2.rewrapped");
  }
  return count;
}

async function takeNext(parts: RotateParts, told: (step: Step) => void): Promise<boolean> {
  const { keys, database, world } = parts;
  const rows = await readKeys(database.db);
  const next = rows.find(({ state }) => state === "next");
  if (!next) throw new Error("there is no next data key");
  await settle(parts, next.created_at, "next_key_is_new", told);
  const following = await keys.wrapNew("next", rows);
  const activated = await activate(database, next.id, following, world.now().getTime());
  world.reach("keys.3.activated");
  await keys.renew();
  if (activated) told({ step: "activated", key: next.id });
  return activated;
}

/** A replica that has not heard yet seals with the old key for a moment: once more when all have. */
async function resealTwice(parts: RotateParts, told: (step: Step) => void): Promise<Pass> {
  const since = parts.world.now().getTime();
  const first = await resealWhatIsLeft(parts, told);
  await settle(parts, since, "replicas_follow", told);
  const last = await resealAll(parts, () => {});
  return {
    resealed: first.resealed + last.resealed,
    unreadable: last.unreadable,
    ms: first.ms + last.ms,
  };
}

async function resealWhatIsLeft(parts: RotateParts, told: (step: Step) => void): Promise<Pass> {
  const all = await countOthers(parts);
  if (all === 0) return { resealed: 0, unreadable: 0, ms: 0 };
  const pass = await resealAll(parts, ({ resealed, unreadable, ms }) => {
    const done = resealed + unreadable;
    told({ step: "resealing", done, remaining: Math.max(0, all - done), ms });
  });
  parts.world.reach("keys.5.pass_done");
  return pass;
}

async function countOthers(parts: RotateParts): Promise<number> {
  const counts = await countSealed(
    parts.database.db,
    parts.columns.filter(({ context }) => context),
  );
  const current = parts.seal.header.toString("hex");
  return [...counts].reduce((sum, [header, count]) => (header === current ? sum : sum + count), 0);
}

async function settle(
  { world, settleMs = SETTLE_MS }: RotateParts,
  since: number,
  why: "next_key_is_new" | "replicas_follow",
  told: (step: Step) => void,
): Promise<void> {
  // Another host made the time: however its clock goes, the wait is bounded.
  const ms = Math.min(settleMs, since + settleMs - world.now().getTime());
  if (ms <= 0) return;
  told({ step: "waiting", ms, why });
  await setTimeout(ms);
}
