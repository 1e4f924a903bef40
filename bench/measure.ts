import type { Load } from "./load.ts";
import { cpuMicroseconds } from "./process-cost.ts";
import type { Stage } from "./stage.ts";
import { median, percentile } from "./statistics.ts";
import type { Target } from "./targets.ts";

export interface Measurement {
  cpuMicrosecondsPerCall: number;
  callsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
}

/** Puts one load on one target. Throws when a single call fails: figures with errors in them mean nothing. */
export async function measure(
  load: Stage["load"],
  target: Target,
  how: Pick<Load, "concurrency" | "durationMs" | "rate">,
): Promise<Measurement> {
  const before = cpuMicroseconds(target.pid);
  const result = await load.ask({ ...target.call, ...how });
  const used = cpuMicroseconds(target.pid) - before;
  if (result.failed > 0 || result.calls === 0) {
    throw new Error(
      `${target.label}: ${result.failed} of ${result.failed + result.calls} calls failed: ${result.failure}`,
    );
  }
  return {
    cpuMicrosecondsPerCall: used / result.calls,
    callsPerSecond: (result.calls * 1000) / result.elapsedMs,
    p50Ms: percentile(result.latenciesMs, 0.5),
    p99Ms: percentile(result.latenciesMs, 0.99),
  };
}

const WARM_UP_STEP_MS = 500;

/** Calls a target until `calls` are made or `longestMs` is over. */
export async function warmUp(
  load: Stage["load"],
  target: Target,
  { calls, longestMs }: { calls: number; longestMs: number },
): Promise<void> {
  const end = performance.now() + longestMs;
  for (let made = 0; made < calls && performance.now() < end; ) {
    const { callsPerSecond } = await measure(load, target, { concurrency: 10, durationMs: WARM_UP_STEP_MS });
    made += (callsPerSecond * WARM_UP_STEP_MS) / 1000;
  }
}

/**
 * Measures the targets in turn, round after round, the order reversed each time, so that what else the machine does
 * falls on all of them. Returns each target's measurements, in the order of the rounds.
 */
export async function interleave(
  load: Stage["load"],
  targets: readonly Target[],
  rounds: number,
  how: Parameters<typeof measure>[2],
): Promise<Map<Target, Measurement[]>> {
  const measured = new Map(targets.map((target) => [target, [] as Measurement[]]));
  for (let round = 0; round < rounds; round++) {
    for (const target of round % 2 ? targets.toReversed() : targets) {
      measured.get(target)!.push(await measure(load, target, how));
    }
  }
  return measured;
}

/** The median of each figure by itself. */
export function typical(measurements: readonly Measurement[]): Measurement {
  const of = (figure: keyof Measurement) => median(measurements.map((one) => one[figure]));
  return {
    cpuMicrosecondsPerCall: of("cpuMicrosecondsPerCall"),
    callsPerSecond: of("callsPerSecond"),
    p50Ms: of("p50Ms"),
    p99Ms: of("p99Ms"),
  };
}

/** How much more processor time a call costs than in the baseline: the median over rounds that ran side by side. */
export function costRatio(measurements: readonly Measurement[], baseline: readonly Measurement[]): number {
  return median(
    measurements.map((one, round) => one.cpuMicrosecondsPerCall / baseline[round]!.cpuMicrosecondsPerCall),
  );
}
