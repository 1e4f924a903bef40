import { writeFile } from "node:fs/promises";
import { expectedFailures } from "./expected-failures.ts";
import { judge } from "./judge.ts";
import { report } from "./report.ts";
import { runAuthorization } from "./run-authorization.ts";
import { type Outcome, revisions, runClient, runServer } from "./run-suite.ts";
import { suiteVersion } from "./suite.ts";

/*
 * `node test/conformance/run.ts` runs everything and writes docs/conformance.md;
 * `node test/conformance/run.ts <scenario> [revision]` runs one scenario and prints what it found.
 */
const RUN_MS = 600_000;
const [only, revision] = process.argv.slice(2);

async function everything(): Promise<Outcome[]> {
  const all: Outcome[] = [];
  for (const one of revisions) {
    for (const upstream of ["modern", "legacy"] as const)
      all.push(...(await runServer(one, upstream, RUN_MS)));
    all.push(...(await runClient(one, RUN_MS)));
  }
  return [...all, ...(await runAuthorization(RUN_MS))];
}

async function oneScenario(scenario: string): Promise<Outcome[]> {
  const which = revision ? [revision] : [...revisions];
  const isClient =
    /^(auth\/|http-standard|http-custom-headers$|http-invalid|sep-2322|sse-retry|request-metadata|tools_call$|initialize$|.*-client-|json-schema-.*(deref|preservation)$)/;
  if (scenario.startsWith("authorization-")) return runAuthorization(RUN_MS);
  const all: Outcome[] = [];
  for (const one of which) {
    if (isClient.test(scenario)) all.push(...(await runClient(one, RUN_MS, scenario)));
    else
      for (const upstream of ["modern", "legacy"] as const)
        all.push(...(await runServer(one, upstream, RUN_MS, scenario)));
  }
  return all;
}

const outcomes = only === undefined ? await everything() : await oneScenario(only);
if (only === undefined) {
  const page = new URL("../../docs/conformance.md", import.meta.url);
  await writeFile(page, report(await suiteVersion(), outcomes, expectedFailures));
} else console.log(JSON.stringify(outcomes, undefined, 2));
const { unexpected, stale } = judge(outcomes);
for (const line of [...unexpected, ...stale]) console.error(line);
process.exitCode = unexpected.length + stale.length > 0 ? 1 : 0;
