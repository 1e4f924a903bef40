import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import type { FaultPoint } from "../../src/base/index.ts";
import type { Bundle } from "./bundle.ts";
import type { Order, Start } from "./gateway-child.ts";

const PORT_MS = 200;

export interface AtRisk {
  program: Bundle;
  environment: Record<string, string>;
}

/** A gateway in its own process, which dies at a fault point or when it is killed, and can be started again. */
export class GatewayAtRisk {
  readonly #options: AtRisk;
  #child: ChildProcess | undefined;
  #said = "";
  #listens = false;
  readonly #ends = new WeakMap<ChildProcess, Promise<void>>();
  /** How far its clock is ahead, whichever process it is now. */
  later = 0;

  constructor(options: AtRisk) {
    this.#options = options;
  }

  /** Resolves when it serves. Rejects when it ends first, unless it was to die on the way: then true says that it did. */
  async start(die?: Start["die"]): Promise<boolean> {
    const child = this.#fork({ environment: this.#options.environment, later: this.later, die });
    this.#child = child;
    this.#listens = false;
    const serves = once(child, "message").then(() => false);
    const ended = this.#end(child).then(() => true);
    this.#listens = !(await Promise.race([serves, ended]));
    if (this.#listens) return false;
    if (die && child.signalCode === "SIGKILL") return true;
    // Somebody's way out may have this port for a moment.
    if (this.#said.includes("the port is in use") || this.#said.includes("EADDRINUSE")) {
      await setTimeout(PORT_MS);
      return this.start(die);
    }
    throw new Error(`the gateway did not start (${child.exitCode ?? child.signalCode}): ${this.#said}`);
  }

  /** It will die at this point, when it is reached for the n-th time from now on. */
  die(at: FaultPoint, nth = 1): Promise<void> {
    return this.#order({ order: "die", at, nth });
  }

  /** Moves its clock, and that of those that come after it. */
  async advance(ms: number): Promise<void> {
    await this.#order({ order: "advance", ms });
    // Last: a provider whose clock is ahead refuses tokens that are as good as new.
    this.later += ms;
  }

  /** Resolves to true when the process is gone, by whatever it ended; to false when it still runs after so many milliseconds. */
  async gone(withinMs?: number): Promise<boolean> {
    const ended = this.#end(this.#child!).then(() => true);
    if (withinMs === undefined) return ended;
    const late = new AbortController();
    const isLate = setTimeout(withinMs, false, { signal: late.signal });
    isLate.catch(() => {});
    return Promise.race([ended, isLate]).finally(() => late.abort());
  }

  /** It has said that it listens, and has not ended. */
  get isServing(): boolean {
    return this.#listens && this.isAlive;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isAlive(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** kill -9. */
  async kill(): Promise<void> {
    if (!this.isAlive) return;
    this.#child!.kill("SIGKILL");
    await this.gone();
  }

  /** As SIGTERM does; resolves when it has begun. `gone` says when it is over. */
  stop(): Promise<void> {
    return this.#order({ order: "stop" });
  }

  /** What it ended with; null when a signal ended it. */
  get exitCode(): number | null {
    return this.#child?.exitCode ?? null;
  }

  /** Does at once what jobs do now and then. */
  jobs(): Promise<void> {
    return this.#order({ order: "jobs" });
  }

  /** Rotates the keys in another process beside it, which may die; resolves to whether it did. */
  async rotateKeys(die?: Start["die"]): Promise<boolean> {
    const child = this.#fork({
      environment: this.#options.environment,
      later: this.later,
      task: "rotate",
      die,
    });
    await this.#end(child);
    if (child.exitCode !== 0 && child.signalCode !== "SIGKILL") throw new Error(`no rotation: ${this.#said}`);
    return child.signalCode === "SIGKILL";
  }

  #fork(start: Start): ChildProcess {
    const { program } = this.#options;
    this.#said = "";
    const child = fork(program.path, [JSON.stringify(start)], {
      env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: program.cache },
      execArgv: [],
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    this.#ends.set(child, new Promise((resolve) => child.once("exit", () => resolve())));
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding("utf8").on("data", (text) => {
        this.#said += text;
      });
    return child;
  }

  async #order(order: Order): Promise<void> {
    const child = this.#child!;
    child.send(order);
    await Promise.race([once(child, "message"), this.#end(child)]);
  }

  #end(child: ChildProcess): Promise<void> {
    return this.#ends.get(child)!;
  }
}
