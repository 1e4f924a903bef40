import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StdioCommand } from "../upstreams/index.ts";
import type { Line } from "./channel.ts";
import { RelayFault } from "./fault.ts";
import { LineReader } from "./lines.ts";

export interface ProgramEvents {
  /** One line of its standard output. */
  line(line: Uint8Array): void;
  /** Bytes of its standard error. */
  error(chunk: Buffer): void;
  /** Nothing more can be said to it or heard from it. Called once. */
  lost(fault: RelayFault): void;
  /** The process is gone; called once, also when it never came about. */
  ended(how: { code: number | null; signal: NodeJS.Signals | null; cause?: unknown }): void;
}

/** From SIGTERM to SIGKILL. */
const GRACE_MS = 3_000;
/** How long pipes may stay open without their program, and a program without its output. */
const LINGER_MS = 1_000;
/** Bytes that a program which does not read lets wait in our memory. */
const MAX_UNREAD = 32 * 1024 * 1024;

/** Groups that must not outlive us, however we end. */
const groups = new Set<number>();
const endAll = () => {
  for (const pid of groups) signal(pid, "SIGKILL");
};

/**
 * One running program and its pipes (MCP stdio: a message per line). It has its own process group, so that what it starts
 * ends with it, its own empty folder, and of our environment and open files nothing (attack cases ST-14, AD-08).
 */
export class Program implements Line {
  readonly #events: ProgramEvents;
  readonly #folder: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended = Promise.withResolvers<void>();
  #isLost = false;
  #isOver = false;
  #killer: NodeJS.Timeout | undefined;
  #linger: NodeJS.Timeout | undefined;

  /** Throws what the operating system refuses at once. */
  constructor(name: string, { command, args, env }: StdioCommand, maxLine: number, events: ProgramEvents) {
    this.#events = events;
    this.#folder = mkdtempSync(join(tmpdir(), `postern-${name}-`));
    try {
      this.#child = start(command, args, env, this.#folder);
    } catch (error) {
      rmSync(this.#folder, { recursive: true, force: true });
      throw error;
    }
    this.#remember();
    this.#listen(new LineReader(maxLine));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Resolves when the process is gone. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Writes one message. One that a program does not read is not sent: `RelayFault`, safe to repeat. */
  async send(message: string): Promise<void> {
    const { stdin } = this.#child;
    if (this.#isLost || !stdin.writable || stdin.writableLength > MAX_UNREAD)
      throw new RelayFault("upstream_unreachable", { retryable: true });
    stdin.write(`${message}\n`);
  }

  /** Asks it to end, its input closed and SIGTERM; SIGKILL when it does not. */
  close(): void {
    this.#lose(new RelayFault("upstream_unreachable"));
    if (this.#killer || this.#isGone()) return;
    this.#child.stdin.end();
    this.#signal("SIGTERM");
    this.#killer = setTimeout(() => this.#signal("SIGKILL"), GRACE_MS);
  }

  #listen(reader: LineReader): void {
    const child = this.#child;
    child.stdout.on("data", (chunk: Buffer) => this.#read(reader, chunk));
    child.stderr.on("data", (chunk: Buffer) => this.#events.error(chunk));
    // A closed pipe is told by the end of the process, or of its output.
    for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.on("error", () => {});
    child.stdout.on("end", () => {
      this.#linger ??= setTimeout(() => this.close(), LINGER_MS);
    });
    // Without a process there is no `exit`.
    child.once("error", (cause) => child.pid === undefined && this.#end({ code: null, signal: null, cause }));
    child.once("exit", (code, signal) => this.#exited({ code, signal }));
  }

  #read(reader: LineReader, chunk: Buffer): void {
    if (this.#isLost) return;
    try {
      for (const line of reader.push(chunk)) if (line.byteLength > 1) this.#events.line(line);
    } catch (error) {
      if (!(error instanceof RelayFault)) throw error;
      this.#lose(error);
      this.close();
    }
  }

  #lose(fault: RelayFault): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#events.lost(fault);
  }

  /** Its last words are still in the pipes; what it started and left behind may hold them open. */
  #exited(how: Parameters<ProgramEvents["ended"]>[0]): void {
    const pid = this.#child.pid!;
    clearTimeout(this.#killer);
    clearTimeout(this.#linger);
    signal(pid, "SIGKILL");
    groups.delete(pid);
    if (groups.size === 0) process.removeListener("exit", endAll);
    const late = setTimeout(() => this.#end(how), LINGER_MS);
    this.#child.once("close", () => {
      clearTimeout(late);
      this.#end(how);
    });
  }

  #end(how: Parameters<ProgramEvents["ended"]>[0]): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const pipe of [this.#child.stdin, this.#child.stdout, this.#child.stderr]) pipe.destroy();
    rmSync(this.#folder, { recursive: true, force: true });
    this.#lose(new RelayFault("upstream_unreachable", { cause: how.cause }));
    this.#events.ended(how);
    this.#ended.resolve();
  }

  #remember(): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    if (groups.size === 0) process.on("exit", endAll);
    groups.add(pid);
  }

  #isGone(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined;
  }

  #signal(name: NodeJS.Signals): void {
    if (this.#child.pid !== undefined && !this.#isGone()) signal(this.#child.pid, name);
  }
}

/** Never through a shell: an argument is an argument. */
function start(
  command: string,
  args: StdioCommand["args"],
  env: StdioCommand["env"],
  cwd: string,
): ChildProcessWithoutNullStreams {
  const values = args.map((arg) => arg.reveal());
  const variables = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, value.reveal()]));
  return spawn(command, values, { cwd, env: variables, stdio: "pipe", shell: false, detached: true });
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(-pid, name);
  } catch {
    // The group is gone already.
  }
}
