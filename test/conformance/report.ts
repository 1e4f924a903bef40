import type { ExpectedFailure } from "./expected-failures.ts";
import { concerns } from "./judge.ts";
import type { Outcome } from "./run-suite.ts";

/** The page `docs/conformance.md`: a table for each run, and the list of what is expected to fail. Pure. */
export function report(
  version: string,
  outcomes: readonly Outcome[],
  expected: readonly ExpectedFailure[],
): string {
  const runs = Map.groupBy(outcomes, ({ leg, revision, upstream }) => titleOf({ leg, revision, upstream }));
  const sections = [...runs].map(
    ([title, run]) => `## ${title}\n\n${countOf(run)}\n\n${tableOf(run, expected)}\n`,
  );
  const reasons = expected.map(({ leg, scenario, revision, upstream, reason }) => {
    const where = `${revision ?? "all"}${upstream ? `, ${upstream} upstream` : ""}`;
    return `| ${leg} | \`${scenario}\` | ${where} | ${reason} |`;
  });
  const failing =
    reasons.length === 0
      ? "None.\n"
      : `| part | scenario | revision | reason |\n|---|---|---|---|\n${reasons.join("\n")}\n`;
  return `${introduction(version)}\n${sections.join("\n")}\n## Expected failures\n\n${failing}`;
}

function introduction(version: string): string {
  return `# Conformance

Written by \`node test/conformance/run.ts\`; do not edit. The official suite \`@modelcontextprotocol/conformance\` ${version} against
the gateway with authentication on. As a server it stands in front of a fixture of the official SDK, once of 2026-07-28 and once
of 2025-11-25, behind a loopback proxy that presents a virtual key. As a client it is a whole gateway that meets the suite's mock
servers and mock authorization servers as its upstream. As an authorization server it is asked for consent by the suite.
`;
}

function titleOf({ leg, revision, upstream }: Pick<Outcome, "leg" | "revision" | "upstream">): string {
  if (leg === "server")
    return `Server, ${revision}, upstream of ${upstream === "modern" ? "2026-07-28" : "2025-11-25"}`;
  return leg === "client" ? `Client, ${revision}` : "Authorization server";
}

function countOf(run: readonly Outcome[]): string {
  const scored = run.filter(({ notScored }) => notScored === undefined);
  const passed = (some: readonly Outcome[]) => some.filter(({ failures }) => failures.length === 0).length;
  const rest = run.length - scored.length;
  const unscored = rest === 0 ? "" : `; of ${rest} that are not scored, ${passed(run) - passed(scored)}`;
  return `${passed(scored)} of ${scored.length} scenarios pass${unscored}.`;
}

function tableOf(run: readonly Outcome[], expected: readonly ExpectedFailure[]): string {
  const rows = run.map((outcome) => {
    const { scenario, notScored, passed, failures } = outcome;
    const known = expected.some((one) => concerns(one, outcome));
    const how = failures.length === 0 ? "pass" : known ? "fails, expected" : "**fails**";
    return `| \`${scenario}\`${notScored ? ` (${notScored})` : ""} | ${how} | ${passed} | ${failures.length} |`;
  });
  return `| scenario | | checks passed | failed |\n|---|---|---|---|\n${rows.join("\n")}`;
}
