import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, realpathSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../../test/journeys/steps/eventually.ts";

/** The last commit before this version. */
export const BEFORE = "253a2ae";
const ROOT = join(import.meta.dirname, "../..");

/** A temporary folder with the files of a commit and this version's dependencies; its caller removes it. */
export function versionAt(commit: string): string {
  const folder = mkdtempSync(join(tmpdir(), "postern-before-"));
  const files = execFileSync("git", ["archive", commit], { cwd: ROOT, maxBuffer: 1 << 28 });
  execFileSync("tar", ["-x", "-C", folder], { input: files });
  symlinkSync(realpathSync(join(ROOT, "node_modules")), join(folder, "node_modules"));
  return folder;
}

export const ADMIN_TOKEN = "an-administrator-token-for-tests";

export interface ReplicaOptions {
  port: number;
  baseUrl: string;
  databaseUrl: string;
  encryptionKey: string;
  /** `host:port` of upstreams and their authorization servers. */
  allow: readonly string[];
}

/** A gateway process of this version, or of another. */
export interface Replica {
  port: number;
  /** What it said so far. */
  output: string;
  exit: Promise<number | null>;
  kill(signal?: NodeJS.Signals): void;
  /** Its memory, in MiB. */
  memory(): number;
}

/** `root`: the folder of the version. */
export function spawnReplica(root: string, options: ReplicaOptions): Replica {
  const child = spawn(process.execPath, [join(root, "src/main.ts"), "serve"], {
    cwd: root,
    env: {
      PATH: process.env.PATH,
      POSTERN_PORT: String(options.port),
      POSTERN_BASE_URL: options.baseUrl,
      POSTERN_DATABASE_URL: options.databaseUrl,
      POSTERN_ENCRYPTION_KEY: options.encryptionKey,
      POSTERN_ADMIN_TOKEN: ADMIN_TOKEN,
      POSTERN_OUTBOUND_ALLOW: options.allow.join(","),
      POSTERN_LOG_LEVEL: "error",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const replica: Replica = {
    port: options.port,
    output: "",
    exit: once(child, "exit").then(([code]) => code as number | null),
    kill: (signal = "SIGKILL") => void child.kill(signal),
    memory: () => {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024);
    },
  };
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      replica.output += text;
    });
  return replica;
}

/** Resolves when it listens. */
export async function started(replica: Replica): Promise<Replica> {
  await Promise.race([
    eventually("a gateway starts", () => replica.output.includes("MCP URL:"), 60_000),
    replica.exit.then(() => assert.fail(replica.output)),
  ]);
  return replica;
}
