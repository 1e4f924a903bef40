// Fuzzing for as long as one likes: node test/fuzz/main.ts [--runs 20000] [--seed 1]
import { parseArgs } from "node:util";
import { fuzzFromClients } from "./from-clients.ts";
import { fuzzFromSseUpstream } from "./from-sse-upstream.ts";
import { fuzzFromUpstream } from "./from-upstreams.ts";
import { brief } from "./run-options.ts";

const { values } = parseArgs({ options: { runs: { type: "string" }, seed: { type: "string" } } });
const runs = Number(values.runs ?? 20_000);
const options = { ...brief(runs), ...(values.seed !== undefined && { seed: Number(values.seed) }) };
const parts: [string, () => Promise<void>][] = [
  ["from clients", () => fuzzFromClients(options)],
  ["from an upstream of 2026-07-28", () => fuzzFromUpstream("modern", options)],
  ["from an older upstream", () => fuzzFromUpstream("legacy", options)],
  ["from an upstream of 2024-11-05", () => fuzzFromSseUpstream(options)],
];
for (const [name, part] of parts) {
  const started = performance.now();
  await part();
  const seconds = Math.round((performance.now() - started) / 1_000);
  console.log(`${name}: ${runs} runs from seed ${options.seed}, ${seconds} s, nothing found`);
}
