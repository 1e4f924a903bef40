import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

/** A folder for what a client keeps about itself. */
export async function temporaryHome(): Promise<{ path: string; close(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "postern-client-"));
  return { path, close: () => rm(path, { recursive: true, force: true }) };
}

/** The environment of a client: nothing of ours, a home of its own, no browser it could open. */
export function clientEnvironment(home: string): Record<string, string> {
  return { PATH: process.env.PATH ?? "", HOME: home, BROWSER: "true" };
}

/** The file of an installed package that its command runs. */
export function commandOf(path: string): string {
  return fileURLToPath(new URL(`../../node_modules/${path}`, import.meta.url));
}

export interface Finished {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program of Node to its end, at most `ms`. */
export async function runToEnd(file: string, args: string[], home: string, ms = 25_000): Promise<Finished> {
  const child = spawn(process.execPath, [file, ...args], {
    cwd: home,
    env: clientEnvironment(home),
    stdio: ["ignore", "pipe", "pipe"],
    timeout: ms,
    killSignal: "SIGKILL",
  });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "exit"),
  ]);
  return { code, stdout, stderr };
}
