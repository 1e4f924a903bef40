import { randomFillSync } from "node:crypto";
import type { Clock } from "./clock.ts";
import type { FaultPoint } from "./fault-points.ts";
import type { Log } from "./log.ts";
import type { Outbound } from "./outbound.ts";

/** Everything a part needs from outside the process, as values: tests hand in their own clock and network policy. */
export interface World {
  now(): Date;
  random(bytes: number): Uint8Array;
  outbound: Outbound;
  log: Log;
  /** Does nothing, except where a test lets the process die at this step (fault-points.ts). */
  reach(point: FaultPoint): void;
}

const POOL_BYTES = 4096;

/** The system's randomness, drawn in larger pieces: one draw costs more than everything else an id is made of. */
function pooledRandom(): World["random"] {
  const pool = Buffer.alloc(POOL_BYTES);
  let next = POOL_BYTES;
  return (bytes) => {
    if (bytes > POOL_BYTES) return randomFillSync(new Uint8Array(bytes));
    if (next + bytes > POOL_BYTES) {
      randomFillSync(pool);
      next = 0;
    }
    const drawn = Uint8Array.from(pool.subarray(next, next + bytes));
    // What was given out must not stay readable here.
    pool.fill(0, next, next + bytes);
    next += bytes;
    return drawn;
  };
}

function nothing(): void {}

/** What the system takes for the time, in milliseconds; for comparison only. */
export function systemTime(): number {
  return Date.now();
}

/** The real clock and randomness; the only place that reads them. With `clock`, the time that it follows. */
export function systemWorld(parts: { outbound: Outbound; log: Log; clock?: Clock }): World {
  const { clock } = parts;
  return {
    now: () => clock?.now() ?? new Date(),
    random: pooledRandom(),
    outbound: parts.outbound,
    log: parts.log,
    reach: nothing,
  };
}
