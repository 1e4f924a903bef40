/**
 * `npm run bench`: what a `tools/call` with a person's own credential costs, beside a bare proxy of `node:http` and
 * undici in front of the same upstream, in turn and in the same run. The person connected once through the real flow;
 * the calls are those of a 2026-07-28 client on the warm path. Upstream, baseline, gateway and load generator are each
 * a process; processor time is what the kernel counts for the process in question. Exit code 1 when the budget of
 * the design is missed.
 */
import { checks, type Figures, type LoadFigures } from "./figures.ts";
import { hostileCosts } from "./hostile-json.ts";
import { costRatio, interleave, type Measurement, measure, typical, warmUp } from "./measure.ts";
import { callTool } from "./modern-call.ts";
import { type Options, readOptions, usage } from "./options.ts";
import { residentMiB } from "./process-cost.ts";
import { machine, writeResults } from "./results-page.ts";
import { signInRatio } from "./sign-in.ts";
import { exposedTool, type Stage, setStage } from "./stage.ts";
import { asText, tablesOf } from "./tables.ts";
import { type Target, targetsOf } from "./targets.ts";
import { type Cost, topCosts } from "./top-costs.ts";
import { toolName } from "./upstream.ts";
import { countUpstreamRequests } from "./upstream-requests.ts";

const PACED = { concurrency: 20, rate: 500 };
const PROFILED_MS = 10_000;
const TOP = 40;

// What was started ends with us, whatever ends us.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

const options = readOptions(process.argv.slice(2));
if (options === undefined) console.log(usage);
else if (options.profileFolder !== undefined) await profile(options, options.profileFolder);
else process.exitCode = await benchmark(options);

async function benchmark(options: Options): Promise<number> {
  console.log(`Postern benchmark · ${machine(options)}\n`);
  // Before anything is connected: it keeps this process busy for seconds.
  const hostile = hostileCosts();
  const stage = await setStage();
  try {
    const figures = { ...(await run(stage, options)), hostile };
    console.log(tablesOf(figures).map(asText).join("\n\n"));
    if (options.write) writeResults(figures, options);
    const passed = checks(figures).every((check) => check.passed);
    console.log(passed ? "\nPASS: within the budget" : "\nFAIL: outside the budget");
    return passed ? 0 : 1;
  } finally {
    await stage.close();
  }
}

async function run(stage: Stage, options: Options): Promise<Omit<Figures, "hostile">> {
  const { load, gateway, baseline } = stage;
  const idleMiB = residentMiB(gateway.pid);
  const signIn = await signInRatio(gateway);
  const requests = await countUpstreamRequests(stage);
  const targets = targetsOf(stage);
  const loaded = [targets.baseline, targets.perUser, targets.open];
  for (const target of [targets.direct, ...loaded]) await warmUp(load, target, warmUpOf(options));
  const loads: LoadFigures[] = [];
  for (const concurrency of options.concurrencies) {
    const { rounds, durationMs } = options;
    loads.push(loadFigures(concurrency, await interleave(load, loaded, rounds, { concurrency, durationMs })));
  }
  const added = await addedLatency(load, targets, options);
  const memory = { idleMiB, afterMiB: residentMiB(gateway.pid), baselineMiB: residentMiB(baseline.pid) };
  return { loads, added, memory, requests, coldStartMs: await coldStart(stage), signIn };
}

function warmUpOf({ warmUpCalls, warmUpMs }: Options) {
  return { calls: warmUpCalls, longestMs: warmUpMs };
}

function loadFigures(concurrency: number, measured: Map<Target, Measurement[]>): LoadFigures {
  const byKey = Object.fromEntries([...measured].map(([{ key }, found]) => [key, found])) as Record<
    Target["key"],
    Measurement[]
  >;
  return {
    concurrency,
    typical: Object.fromEntries(Object.entries(byKey).map(([key, found]) => [key, typical(found)])),
    ratio: costRatio(byKey.perUser, byKey.baseline),
  };
}

async function addedLatency(
  load: Stage["load"],
  targets: Record<Target["key"], Target>,
  { rounds, durationMs }: Options,
): Promise<Figures["added"]> {
  const { direct, baseline, perUser } = targets;
  const measured = await interleave(load, [direct, baseline, perUser], rounds, { ...PACED, durationMs });
  const [own, ...others] = [direct, baseline, perUser].map((target) => typical(measured.get(target)!));
  const [bare, ours] = others.map(({ p50Ms, p99Ms }) => ({
    p50Ms: p50Ms - own!.p50Ms,
    p99Ms: p99Ms - own!.p99Ms,
  }));
  return { baseline: bare!, perUser: ours! };
}

/** Stops the gateway and starts it again on its database; the call is the per-user one. */
async function coldStart({ gateway, token }: Stage): Promise<number> {
  await gateway.stop();
  const begin = performance.now();
  await gateway.start();
  await callTool(`${gateway.origin}/mcp`, token, exposedTool("perUser", toolName));
  return performance.now() - begin;
}

async function profile(options: Options, folder: string): Promise<void> {
  const stage = await setStage(folder);
  try {
    const { perUser } = targetsOf(stage);
    await warmUp(stage.load, perUser, warmUpOf(options));
    await measure(stage.load, perUser, { concurrency: 10, durationMs: PROFILED_MS });
    await stage.gateway.stop();
  } finally {
    await stage.close();
  }
  const { self, charged, total } = topCosts(folder, PROFILED_MS, TOP);
  printCosts("Time in the function itself", self);
  printCosts("Our functions, with what they call in Node and packages", charged);
  printCosts("Our functions, with everything they call", total);
}

function printCosts(title: string, costs: readonly Cost[]): void {
  console.log(`\n${title}`);
  for (const { where, share } of costs) console.log(`${(share * 100).toFixed(1).padStart(5)} %  ${where}`);
}
