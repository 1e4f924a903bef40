import {
  MAX_COST_RATIO,
  MAX_GROWTH,
  MAX_HOSTILE_MS,
  MAX_SIGN_IN_RATIO,
  maxUpstreamRequests,
} from "./budget.ts";
import type { HostileCost } from "./hostile-json.ts";
import type { Measurement } from "./measure.ts";
import type { Target } from "./targets.ts";
import type { UpstreamRequests } from "./upstream-requests.ts";

/** What one concurrency gave. */
export interface LoadFigures {
  concurrency: number;
  typical: Partial<Record<Target["key"], Measurement>>;
  /** Of the per-user call to the baseline. */
  ratio: number;
}

/** Everything one run found out. */
export interface Figures {
  loads: LoadFigures[];
  /** At 500 calls per second: how much longer than the upstream itself. */
  added: { baseline: AddedLatency; perUser: AddedLatency };
  memory: { idleMiB: number; afterMiB: number; baselineMiB: number };
  requests: UpstreamRequests;
  /** From starting the process to the first answered call, on a database that has its rows. */
  coldStartMs: number;
  /** Attack case MC-07. */
  hostile: HostileCost[];
  /** Attack case AD-05: the slower refusal to the faster one. */
  signIn: number;
}

export interface AddedLatency {
  p50Ms: number;
  p99Ms: number;
}

export interface Check {
  what: string;
  found: string;
  limit: string;
  passed: boolean;
}

/** The budget of design.md section 6, line by line. */
export function checks({ loads, requests, hostile, signIn }: Figures): Check[] {
  const ratios = loads.map(({ concurrency, ratio }) => ({
    what: `processor time per call, c=${concurrency}`,
    found: `${ratio.toFixed(2)} × bare proxy`,
    limit: `${MAX_COST_RATIO}`,
    passed: ratio <= MAX_COST_RATIO,
  }));
  const labels: Record<keyof UpstreamRequests, string> = {
    coldModern: "upstream requests, cold, 2026-07-28",
    coldLegacy: "upstream requests, cold, older era",
    warm: "upstream requests, warm",
  };
  const counted = (Object.keys(labels) as (keyof UpstreamRequests)[]).map((key) => ({
    what: labels[key],
    found: String(requests[key]),
    limit: String(maxUpstreamRequests[key]),
    passed: requests[key] <= maxUpstreamRequests[key],
  }));
  const judged = hostile.map(({ what, ms, growth }) => ({
    what: `hostile body, twice the length: ${what}`,
    found: `${growth.toFixed(2)} × the work, ${ms.toFixed(1)} ms`,
    limit: `${MAX_GROWTH}, ${MAX_HOSTILE_MS} ms`,
    passed: growth <= MAX_GROWTH && ms <= MAX_HOSTILE_MS,
  }));
  const refusals = {
    what: "sign-in refused: unknown account and wrong password",
    found: `${signIn.toFixed(2)} × the time`,
    limit: `${MAX_SIGN_IN_RATIO}`,
    passed: signIn <= MAX_SIGN_IN_RATIO,
  };
  return [...ratios, ...counted, ...judged, refusals];
}
