import { writeFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import type { Figures } from "./figures.ts";
import type { Options } from "./options.ts";
import { asMarkdown, tablesOf } from "./tables.ts";

/** What it was measured on, in one line. */
export function machine({ rounds, durationMs, date }: Options): string {
  const model = cpus()[0]?.model.trim() || "unknown processor";
  return `${date} · Node ${process.versions.node} · ${availableParallelism()} cores (${model}) · ${rounds} rounds of ${durationMs / 1000} s for each load`;
}

/** Writes `bench/results.md`. */
export function writeResults(figures: Figures, options: Options): void {
  const page = [
    "# Benchmark results",
    "Made by `npm run bench -- --write`; what it measures stands at the top of `bench/main.ts`.",
    machine(options),
    ...tablesOf(figures).map(asMarkdown),
  ];
  writeFileSync(new URL("results.md", import.meta.url), `${page.join("\n\n")}\n`);
}
