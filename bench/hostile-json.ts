import { JsonFault, parseStrictJson } from "../src/base/index.ts";
import { hostileBodies } from "../test/support/hostile-json.ts";

/** What one hostile body costs to judge. */
export interface HostileCost {
  what: string;
  /** For all of it. */
  ms: number;
  /** Of all of it to half of it: 2 when the work grows as the length, 4 when it grows as its square. */
  growth: number;
}

const ROUNDS = 7;
/** Work too short to be timed alone is repeated until it takes about this long. */
const LONG_ENOUGH_MS = 10;

/** Judges every hostile body whole and half, in turn. */
export function hostileCosts(): HostileCost[] {
  return hostileBodies.map(({ what, make }) => {
    const [half, whole] = [make(1 / 2), make(1)];
    const times = Math.max(
      1,
      Math.ceil(
        LONG_ENOUGH_MS /
          Math.max(
            0.001,
            elapsedMs(() => judge(half)),
          ),
      ),
    );
    const cost = (body: string) =>
      elapsedMs(() => {
        for (let time = 0; time < times; time += 1) judge(body);
      }) / times;
    let [halfMs, wholeMs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let round = 0; round < ROUNDS; round += 1) {
      halfMs = Math.min(halfMs, cost(half));
      wholeMs = Math.min(wholeMs, cost(whole));
    }
    return { what, ms: wholeMs, growth: wholeMs / halfMs };
  });
}

function judge(body: string): void {
  try {
    parseStrictJson(body);
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
  }
}

/** By the clock: what the kernel counts for a thread is too coarse here, and the least of several rounds is undisturbed. */
function elapsedMs(work: () => void): number {
  const begin = performance.now();
  work();
  return performance.now() - begin;
}
