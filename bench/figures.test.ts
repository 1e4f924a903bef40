import { describe, expect, it } from "vitest";
import { checks, type Figures } from "./figures.ts";
import { costRatio, type Measurement } from "./measure.ts";
import { median, percentile } from "./statistics.ts";

const costing = (cpuMicrosecondsPerCall: number) => ({ cpuMicrosecondsPerCall }) as Measurement;

function figures(ratio: number, coldModern: number): Figures {
  const none = { p50Ms: 0, p99Ms: 0 };
  return {
    loads: [{ concurrency: 10, typical: {}, ratio }],
    added: { baseline: none, perUser: none },
    memory: { idleMiB: 0, afterMiB: 0, baselineMiB: 0 },
    requests: { coldModern, coldLegacy: 3, warm: 1 },
    coldStartMs: 0,
    hostile: [{ what: "", ms: 1, growth: 2 }],
    signIn: 1,
  };
}

describe("the figures of the benchmark", () => {
  it("takes the median, and percentiles by nearest rank", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    const values = Float64Array.from({ length: 100 }, (_, n) => 100 - n);
    expect([percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1)]).toEqual([50, 99, 100]);
  });

  it("compares what ran side by side", () => {
    // The machine was twice as slow in the second round; the ratio is the same.
    expect(costRatio([costing(150), costing(300)], [costing(100), costing(200)])).toBe(1.5);
  });

  it("passes at the limit and fails above it", () => {
    expect(checks(figures(1.5, 2)).every((check) => check.passed)).toBe(true);
    expect(checks(figures(1.51, 3)).filter((check) => !check.passed)).toHaveLength(2);
  });
});
