import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { eventually } from "../journeys/steps/eventually.ts";

const ROOT = join(import.meta.dirname, "../..");
const START_MS = 60_000;

/** One gateway process, again and again: what is killed is started at the same port. */
export class Replica {
  readonly port: number;
  output = "";
  /** How long each start took until it listened, after the first; milliseconds. */
  readonly restarts: number[] = [];
  readonly #environment: Record<string, string>;
  #child: ChildProcess | undefined;

  constructor(port: number, environment: Record<string, string>) {
    this.port = port;
    this.#environment = { ...environment, POSTERN_PORT: String(port) };
  }

  async start(): Promise<void> {
    const begun = performance.now();
    const child = spawn(process.execPath, [join(ROOT, "src/main.ts"), "serve"], {
      cwd: ROOT,
      env: { PATH: process.env.PATH, ...this.#environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    let said = "";
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        this.output += text;
      });
    const ended = once(child, "exit").then(() => assert.fail(`a replica did not start:\n${said}`));
    ended.catch(() => {});
    await Promise.race([eventually("a replica listens", () => said.includes("MCP URL:"), START_MS), ended]);
    this.restarts.push(performance.now() - begun);
  }

  /** SIGKILL: nothing is finished, nothing is closed. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
  }
}
