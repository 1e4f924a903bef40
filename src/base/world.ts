import { randomBytes } from "node:crypto";
import type { Log } from "./log.ts";
import type { Outbound } from "./outbound.ts";

/** Everything a part needs from outside the process, as values: tests hand in their own clock and network policy. */
export interface World {
  now(): Date;
  random(bytes: number): Uint8Array;
  outbound: Outbound;
  log: Log;
}

/** The real clock and randomness; the only place that reads them. */
export function systemWorld(parts: { outbound: Outbound; log: Log }): World {
  return {
    now: () => new Date(),
    random: (bytes) => randomBytes(bytes),
    outbound: parts.outbound,
    log: parts.log,
  };
}
