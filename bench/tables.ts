import { aims } from "./budget.ts";
import { checks, type Figures } from "./figures.ts";
import type { Target } from "./targets.ts";

/** A title, the head of the columns, the rows. */
export interface Table {
  title: string;
  head: string[];
  rows: string[][];
}

const columns: [Target["key"], string][] = [
  ["baseline", "bare proxy"],
  ["perUser", "Postern, per-user OAuth"],
  ["open", "Postern, open upstream"],
];

/** What is shown, on the terminal and in results.md. */
export function tablesOf(figures: Figures): Table[] {
  return [cost(figures), speed(figures), aimTable(figures), budget(figures)];
}

function cost({ loads }: Figures): Table {
  return {
    title: "Processor time of the process per call, microseconds (median of the rounds)",
    head: ["c", ...columns.map(([, label]) => label), "per-user / bare"],
    rows: loads.map(({ concurrency, typical, ratio }) => [
      String(concurrency),
      ...columns.map(([key]) => typical[key]?.cpuMicrosecondsPerCall.toFixed(0) ?? ""),
      ratio.toFixed(2),
    ]),
  };
}

function speed({ loads }: Figures): Table {
  return {
    title: "Calls per second · p50 ms · p99 ms",
    head: ["c", ...columns.map(([, label]) => label)],
    rows: loads.map(({ concurrency, typical }) => [
      String(concurrency),
      ...columns.map(([key]) => {
        const found = typical[key];
        return found
          ? `${found.callsPerSecond.toFixed(0)} · ${found.p50Ms.toFixed(2)} · ${found.p99Ms.toFixed(2)}`
          : "";
      }),
    ]),
  };
}

function aimTable({ added, memory, coldStartMs, loads }: Figures): Table {
  const { perUser, baseline } = added;
  const most = loads.at(-1)!;
  const fastest = most.typical.perUser!.callsPerSecond;
  return {
    title: "Beside the aims of goal 6",
    head: ["", "found", "aim"],
    rows: [
      [`calls per second, c=${most.concurrency}`, fastest.toFixed(0), `≥ ${aims.callsPerSecond}`],
      [
        "added p50 at 500/s",
        `${ms(perUser.p50Ms)} (bare proxy ${ms(baseline.p50Ms)})`,
        `≤ ${aims.addedP50Ms} ms`,
      ],
      [
        "added p99 at 500/s",
        `${ms(perUser.p99Ms)} (bare proxy ${ms(baseline.p99Ms)})`,
        `≤ ${aims.addedP99Ms} ms`,
      ],
      ["memory, idle", `${memory.idleMiB.toFixed(0)} MiB`, `≤ ${aims.idleMiB} MiB`],
      [
        "memory, after the load",
        `${memory.afterMiB.toFixed(0)} MiB (bare proxy ${memory.baselineMiB.toFixed(0)})`,
        "",
      ],
      ["cold start to first answered call", `${coldStartMs.toFixed(0)} ms`, `≤ ${aims.coldStartMs} ms`],
    ],
  };
}

function budget(figures: Figures): Table {
  return {
    title: "Budget",
    head: ["", "found", "limit", ""],
    rows: checks(figures).map(({ what, found, limit, passed }) => [
      what,
      found,
      limit,
      passed ? "PASS" : "FAIL",
    ]),
  };
}

function ms(value: number): string {
  return `${value.toFixed(2)} ms`;
}

/** Columns aligned for the terminal. */
export function asText({ title, head, rows }: Table): string {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]!.length)));
  const line = (row: string[]) =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ")}`.trimEnd();
  return [title, ...[head, ...rows].map(line)].join("\n");
}

export function asMarkdown({ title, head, rows }: Table): string {
  const line = (row: string[]) => `| ${row.join(" | ")} |`;
  return [`## ${title}`, "", line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
