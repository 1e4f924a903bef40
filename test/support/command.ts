import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";

const MAIN = join(import.meta.dirname, "../../src/main.ts");

export interface Ran {
  code: number | null;
  /** What it said, on both streams. */
  said: string;
}

/** `postern …` as an operator runs it: a process of its own that inherits nothing but the PATH. */
export async function postern(
  args: string[],
  environment: Record<string, string>,
  cwd = import.meta.dirname,
): Promise<Ran> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd,
    env: { PATH: process.env.PATH, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, error] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code: child.exitCode, said: out + error };
}
