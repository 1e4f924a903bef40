import { type ExpectedFailure, expectedFailures } from "./expected-failures.ts";
import type { Outcome } from "./run-suite.ts";

/** What is wrong with a run: failures that nobody expected, and expectations that came to nothing. */
export interface Verdict {
  unexpected: string[];
  stale: string[];
}

/** Holds outcomes against the list; an expectation is stale when all that it is about passes. Pure. */
export function judge(
  outcomes: readonly Outcome[],
  expected: readonly ExpectedFailure[] = expectedFailures,
): Verdict {
  const unexpected = outcomes
    .filter((outcome) => outcome.failures.length > 0 && !expected.some((one) => concerns(one, outcome)))
    .map(
      (outcome) =>
        `${titleOf(outcome)}: ${outcome.failures.map(({ id, message }) => `${id} (${message})`).join("; ")}`,
    );
  const stale = expected
    .filter((one) => {
      const met = outcomes.filter((outcome) => concerns(one, outcome));
      return met.length > 0 && met.every(({ failures }) => failures.length === 0);
    })
    .map(({ leg, scenario }) => `${leg} ${scenario} passes: take it off the list`);
  return { unexpected, stale };
}

export function concerns(expected: ExpectedFailure, outcome: Outcome): boolean {
  return (
    expected.leg === outcome.leg &&
    expected.scenario === outcome.scenario &&
    (expected.revision === undefined || expected.revision === outcome.revision) &&
    (expected.upstream === undefined || expected.upstream === outcome.upstream)
  );
}

function titleOf({ leg, revision, upstream, scenario }: Outcome): string {
  return `${leg} ${revision}${upstream ? ` (${upstream} upstream)` : ""} ${scenario}`;
}
