// Runs Postgres for exactly as long as somebody holds the other end of stdin: a test process that is killed, even
// with SIGKILL, closes it, and no server and no folder stays behind. Started by start-postgres.ts only.
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";

interface Job {
  command: string;
  args: string[];
  folder: string;
  env: NodeJS.ProcessEnv;
  uid?: number;
  gid?: number;
}

const KILL_AFTER_MS = 5_000;

const { command, args, folder, env, uid, gid } = JSON.parse(process.argv[2] ?? "{}") as Job;
const server = spawn(command, args, { cwd: folder, env, uid, gid, stdio: ["ignore", "inherit", "inherit"] });

let stopping = false;
const stop = (): void => {
  if (stopping) return;
  stopping = true;
  server.kill("SIGINT"); // Postgres: "fast" shutdown, does not wait for clients.
  setTimeout(() => server.kill("SIGQUIT"), KILL_AFTER_MS).unref();
};

// Whoever reads our output may be gone already; the server must be stopped nevertheless.
process.stderr.on("error", () => {});
process.stdin.on("end", stop).on("error", stop).resume();
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, stop);

server.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
server.on("exit", (code) => {
  // A server that never came up keeps its folder: the starter tries again on another port.
  if (stopping) rmSync(folder, { recursive: true, force: true });
  process.exit(code ?? 1);
});
