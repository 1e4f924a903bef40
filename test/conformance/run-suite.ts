import { fileURLToPath } from "node:url";
import { startDriver } from "./client-drive.ts";
import type { Leg } from "./expected-failures.ts";
import { gatewayTarget, type UpstreamEra } from "./gateway-target.ts";
import { type Check, requirements, runSuite } from "./suite.ts";

/** One scenario of one run, and how it went. */
export interface Outcome {
  leg: Leg;
  revision: string;
  /** What stands behind the gateway, where the gateway is the server. */
  upstream?: UpstreamEra;
  scenario: string;
  notScored?: string;
  passed: number;
  failures: { id: string; message: string }[];
}

export const revisions = ["2025-11-25", "2026-07-28"] as const;

/** All server scenarios of a revision, through the gateway, in front of a server of one era. */
export async function runServer(
  revision: string,
  upstream: UpstreamEra,
  timeoutMs: number,
  only?: string,
): Promise<Outcome[]> {
  const target = await gatewayTarget(upstream);
  try {
    const { scenarios, output } = await runSuite(
      "server",
      ["--url", target.url, ...selection(revision, only)],
      {
        timeoutMs,
      },
    );
    return await outcomes({ leg: "server", revision, upstream, only }, scenarios, output);
  } finally {
    await target.close();
  }
}

/** All client scenarios of a revision against our upstream side. */
export async function runClient(revision: string, timeoutMs: number, only?: string): Promise<Outcome[]> {
  const driver = await startDriver();
  try {
    const command = `${process.execPath} ${fileURLToPath(new URL("client-driver.ts", import.meta.url))}`;
    const { scenarios, output } = await runSuite(
      "client",
      ["--command", command, ...selection(revision, only)],
      {
        timeoutMs,
        environment: { POSTERN_CONFORMANCE_DRIVER: driver.url },
      },
    );
    return await outcomes({ leg: "client", revision, only }, scenarios, output);
  } finally {
    await driver.close();
  }
}

function selection(revision: string, only: string | undefined): string[] {
  return only === undefined
    ? ["--requirements", revision]
    : ["--scenario", only, "--spec-version", revision, "--force"];
}

/** What ran against what the revision requires: a scenario that never ran has failed. */
async function outcomes(
  run: { leg: "server" | "client"; revision: string; upstream?: UpstreamEra; only?: string },
  scenarios: ReadonlyMap<string, Check[]>,
  output: string,
): Promise<Outcome[]> {
  const { only, ...common } = run;
  const required = only === undefined ? await requirements(run.revision, run.leg) : [{ name: only }];
  return required.map(({ name, ...rest }) =>
    outcomeOf({ ...common, ...rest, scenario: name }, scenarios.get(name), output),
  );
}

export function outcomeOf(
  run: Omit<Outcome, "passed" | "failures">,
  checks: readonly Check[] | undefined,
  output: string,
): Outcome {
  const seen = checks ?? [];
  const failures = seen
    .filter(({ status }) => status === "FAILURE")
    .map(({ id, errorMessage = "" }) => ({ id, message: errorMessage }));
  const silent = { id: "not-run", message: `The suite did not run it: ${output.slice(-500)}` };
  return {
    ...run,
    passed: seen.filter(({ status }) => status === "SUCCESS").length,
    failures: checks === undefined ? [silent] : failures,
  };
}
