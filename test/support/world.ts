import { randomBytes } from "node:crypto";
import { type Outbound, openLog, openOutbound, type World } from "../../src/base/index.ts";

export interface TestWorld extends World {
  /** Moves the clock forward. */
  advance(ms: number): void;
}

/** A world whose clock starts at the real time and moves only when told. Outgoing traffic: nothing, unless given. */
export function testWorld(outbound?: Outbound): TestWorld {
  let now = Date.now();
  return {
    now: () => new Date(now),
    random: (bytes) => randomBytes(bytes),
    outbound: outbound ?? openOutbound({ allow: { admin: [], stranger: [] } }),
    log: openLog("silent"),
    advance: (ms) => {
      now += ms;
    },
  };
}
