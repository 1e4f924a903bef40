/**
 * The rotation proof in full: `postern keys rotate --data` over 100,000 credentials while a gateway serves, on SQLite and on
 * Postgres. Meanwhile people call with credentials that are warm, cold, or about to be refreshed at a provider that ends a
 * family when a refresh token comes twice. The test command has the same in short, with kill -9 (`test/keys/rotation.test.ts`).
 *
 *   node bench/proofs/rotation.ts [--credentials 100000] [--callers 300] [--kind sqlite|postgres] [--write]
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bundle } from "../../test/crash/bundle.ts";
import type { Kind } from "../../test/crash/house.ts";
import { type Calls, quantile } from "../../test/keys/callers.ts";
import { RotationStage } from "../../test/keys/rotation.ts";
import { startPostgres } from "../../test/postgres/start-postgres.ts";
import { place, writeSection } from "./results.ts";

const { values } = parseArgs({
  options: {
    credentials: { type: "string", default: "100000" },
    callers: { type: "string", default: "300" },
    kind: { type: "string" },
    write: { type: "boolean", default: false },
  },
});
const credentials = Number(values.credentials);
const callers = Number(values.callers);
const kinds: Kind[] = values.kind ? [values.kind as Kind] : ["sqlite", "postgres"];
const LINES = 4;
/** Each caller's credential is refreshed about once in this time. */
const SPREAD_MS = 60_000;
const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

interface Shown {
  kind: Kind;
  /** What the command printed last of its rate. */
  said: string;
  rate: number;
  calls: Calls;
  alone: Calls;
  refreshes: number;
  ended: number;
  unreadable: number;
  left: number;
  peakMiB: { command: number; gateway: number; before: number };
}

const programs = {
  gateway: await bundle(fileURLToPath(new URL("../../test/crash/gateway-child.ts", import.meta.url))),
  rotate: await bundle(fileURLToPath(new URL("../../test/keys/rotate-child.ts", import.meta.url))),
};
const postgres = await startPostgres();
try {
  const shown: Shown[] = [];
  for (const kind of kinds) shown.push(await prove(kind));
  const lines = report(shown);
  console.log(lines.join("\n"));
  if (values.write)
    writeSection(new URL("../proofs.md", import.meta.url), "Rotation of the keys under load", lines);
  process.exitCode = shown.every(isShown) ? 0 : 1;
} finally {
  await postgres.stop();
  programs.gateway.remove();
  programs.rotate.remove();
}

async function prove(kind: Kind): Promise<Shown> {
  console.log(`${kind}: filling`);
  const options = { programs, kind, credentials, callers, spreadMs: SPREAD_MS, postgres: postgres.url };
  const stage = await RotationStage.open(options);
  try {
    const quiet = stage.load(LINES);
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    const alone = await quiet.stop();
    const refreshedBefore = stage.refreshes;
    const gateway = stage.house.gateway.pid!;
    const before = peakMiB(gateway);
    const load = stage.load(LINES);
    console.log(`${kind}: rotating`);
    const { said, command } = await rotate(stage.house.environment);
    const calls = await load.stop();
    for (const fault of calls.failed.slice(0, 10)) console.log(fault);
    const { retired, unreadable } = await stage.state();
    return {
      kind,
      said: /Sealed anew: .*$/m.exec(said)?.[0] ?? said,
      rate: rateOf(said),
      calls,
      alone,
      refreshes: stage.refreshes - refreshedBefore,
      ended: stage.endedFamilies.length,
      unreadable: unreadable.length,
      left: retired,
      peakMiB: { command, gateway: peakMiB(gateway), before },
    };
  } finally {
    await stage.close();
  }
}

/** As an operator does it. */
async function rotate(
  environment: Readonly<Record<string, string>>,
): Promise<{ said: string; command: number }> {
  const child = spawn(process.execPath, [MAIN, "keys", "rotate", "--data"], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  let command = 0;
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      process.stdout.write(text);
    });
  const watch = setInterval(() => {
    command = Math.max(command, peakMiB(child.pid!));
  }, 200);
  const code = await new Promise((resolve) => child.once("close", resolve));
  clearInterval(watch);
  if (code !== 0) throw new Error(`the command ended with ${code}`);
  return { said, command };
}

/** The most memory a process has had, in MiB; 0 where the system does not say. */
function peakMiB(pid: number): number {
  try {
    const kib = /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return Math.round(Number(kib ?? 0) / 1024);
  } catch {
    return 0;
  }
}

/** As the command says it in the end: of sealing itself, without the waiting before and after. */
function rateOf(said: string): number {
  return Number(/\(([\d,]+) a second\)/.exec(said)?.[1]?.replaceAll(",", "") ?? 0);
}

function isShown({ calls, ended, unreadable }: Shown): boolean {
  return calls.failed.length === 0 && calls.made > 0 && ended === 0 && unreadable === 0;
}

function report(shown: readonly Shown[]): string[] {
  const number = (value: number) => value.toLocaleString("en-US");
  const ms = (calls: Calls, share: number) => quantile(calls, share).toFixed(1);
  return [
    `\`node bench/proofs/rotation.ts\`, ${place()}. ${number(credentials)} credentials, \`postern keys rotate --data\` in a process of its own beside a gateway that serves ${callers} callers over ${LINES} connections; access tokens last ${SPREAD_MS / 1000} s, and the provider ends a family whose refresh token comes twice.`,
    "",
    `| | ${shown.map(({ kind }) => (kind === "sqlite" ? "SQLite" : "Postgres")).join(" | ")} |`,
    `|---|${shown.map(() => "---|").join("")}`,
    ...[
      ["values sealed anew a second", (s: Shown) => number(s.rate)],
      ["calls meanwhile", (s: Shown) => number(s.calls.made)],
      ["failed calls", (s: Shown) => number(s.calls.failed.length)],
      ["refreshes meanwhile", (s: Shown) => number(s.refreshes)],
      ["refreshes lost or done twice", (s: Shown) => number(s.ended)],
      ["values that do not open afterwards", (s: Shown) => number(s.unreadable)],
      ["values left with the old key", (s: Shown) => number(s.left)],
      ["a call, median (without a rotation)", (s: Shown) => `${ms(s.calls, 0.5)} ms (${ms(s.alone, 0.5)})`],
      ["a call, 99 % (without a rotation)", (s: Shown) => `${ms(s.calls, 0.99)} ms (${ms(s.alone, 0.99)})`],
      ["most memory of the command", (s: Shown) => `${s.peakMiB.command} MiB`],
      ["most memory of the gateway (before)", (s: Shown) => `${s.peakMiB.gateway} MiB (${s.peakMiB.before})`],
    ].map(([title, of]) => `| ${title} | ${shown.map(of as (s: Shown) => string).join(" | ")} |`),
    "",
    ...shown.map(({ kind, said }) => `${kind}: ${said}`),
  ];
}
