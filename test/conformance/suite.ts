import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** What the suite says of one thing it looked at. */
export interface Check {
  id: string;
  status: "SUCCESS" | "FAILURE" | "WARNING" | "INFO" | "SKIPPED";
  errorMessage?: string;
}

export interface SuiteOptions {
  environment?: Record<string, string>;
  /** The whole run, in milliseconds. */
  timeoutMs: number;
  /** All that was printed so far, each time there is more. */
  onOutput?(text: string): void;
}

/** The official suite, pinned in package.json. */
export const SUITE = "@modelcontextprotocol/conformance";

/**
 * Runs the suite's own command line and reads what it wrote. `area` is the word in front of the result folders. HOME is a
 * folder that goes afterwards; nothing but loopback is named to it.
 */
export async function runSuite(
  area: "server" | "client" | "authorization",
  args: readonly string[],
  { environment = {}, timeoutMs, onOutput }: SuiteOptions,
): Promise<{ scenarios: Map<string, Check[]>; output: string }> {
  const folder = await mkdtemp(join(tmpdir(), "postern-conformance-"));
  try {
    const results = join(folder, "results");
    const output = await execute([suiteFile(), area, ...args, "-o", results], {
      env: { PATH: process.env.PATH ?? "", HOME: folder, ...environment },
      timeoutMs,
      onOutput,
    });
    return { scenarios: await readResults(results, area), output };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The scenarios of a revision's frozen requirements, those that count and those that only run. */
export async function requirements(
  revision: string,
  leg: "server" | "client",
): Promise<{ name: string; notScored?: string }[]> {
  const text = await readFile(join(suiteFolder(), "requirements", `${revision}.yaml`), "utf8");
  const scored = sectionOf(text, leg).map((line) => ({ name: line.trim().replace(/^- /, "") }));
  const rest = sectionOf(text, "not_scored")
    .join("\n")
    .split(/^ {2}- /m)
    .slice(1);
  const unscored = rest.flatMap((entry) => {
    const value = (name: string) => new RegExp(`${name}: (\\S+)`).exec(entry)?.[1] ?? "";
    return value("leg") === leg ? [{ name: value("scenario"), notScored: value("reason") }] : [];
  });
  return [...scored, ...unscored];
}

export async function suiteVersion(): Promise<string> {
  const { version } = JSON.parse(await readFile(join(suiteFolder(), "package.json"), "utf8"));
  return version;
}

function sectionOf(text: string, name: string): string[] {
  const lines = text.split("\n").filter((line) => !line.startsWith("#") && line.trim() !== "");
  const from = lines.indexOf(`${name}:`) + 1;
  const length = lines.slice(from).findIndex((line) => !line.startsWith(" "));
  return lines.slice(from, length < 0 ? undefined : from + length);
}

function suiteFile(): string {
  return join(suiteFolder(), "dist", "index.js");
}

function suiteFolder(): string {
  for (const place of createRequire(import.meta.url).resolve.paths(SUITE) ?? []) {
    if (existsSync(join(place, SUITE, "package.json"))) return join(place, SUITE);
  }
  throw new Error(`${SUITE} is not installed. Run npm ci.`);
}

async function execute(
  args: readonly string[],
  { env, timeoutMs, onOutput }: { env: Record<string, string> } & SuiteOptions,
): Promise<string> {
  const child = spawn(process.execPath, [...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      onOutput?.(output);
    });
  }
  await once(child, "close");
  clearTimeout(timer);
  return output;
}

async function readResults(folder: string, area: string): Promise<Map<string, Check[]>> {
  const scenarios = new Map<string, Check[]>();
  if (!existsSync(folder)) return scenarios;
  const files = await readdir(folder, { recursive: true });
  for (const file of files.filter((one) => one.endsWith("checks.json")).sort()) {
    const name = dirname(file)
      .replace(area === "authorization" ? /^authorization-server-/ : new RegExp(`^${area}-`), "")
      .replace(/-\d{4}-\d\d-\d\dT[\d-]+Z$/, "");
    scenarios.set(name, JSON.parse(await readFile(join(folder, file), "utf8")) as Check[]);
  }
  return scenarios;
}
