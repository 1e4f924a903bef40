import { type Outbound, openOutbound, type World } from "../../src/base/index.ts";
import { watchedLog } from "./leavings.ts";
import { markedRandom } from "./marked.ts";

export interface TestWorld extends World {
  /** Moves the clock forward. */
  advance(ms: number): void;
}

/** A world whose clock starts at the real time and moves only when told. Outgoing traffic: nothing, unless given. */
export function testWorld(outbound?: Outbound): TestWorld {
  let now = Date.now();
  return {
    now: () => new Date(now),
    random: markedRandom,
    outbound: outbound ?? openOutbound({ allow: { admin: [], stranger: [] } }),
    log: watchedLog(),
    reach: () => {},
    advance: (ms) => {
      now += ms;
    },
  };
}
