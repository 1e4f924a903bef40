import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { RunningGateway } from "../test/journeys/steps/gateway.ts";
import { freePort } from "../test/peers/free-port.ts";

export interface GatewayProcess extends RunningGateway {
  /** Asks it to stop, as an operator would; resolves with its exit code. */
  stop(): Promise<number | null>;
  /** Ends it at once where it still runs, and removes its folder. */
  close(): Promise<void>;
}

const START_MS = 20_000;
const main = fileURLToPath(new URL("../bin/postern.mjs", import.meta.url));

/**
 * The gateway as a user starts it: a process of its own in an empty folder, SQLite, its set-up link printed.
 * `allow`: private addresses its upstreams may have (`POSTERN_OUTBOUND_ALLOW`).
 */
export async function startGatewayProcess(allow: string[]): Promise<GatewayProcess> {
  const folder = await mkdtemp(join(tmpdir(), "postern-demo-"));
  const port = await freePort();
  const adminToken = randomBytes(24).toString("base64url");
  const child = spawn(process.execPath, [main, "serve"], {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      POSTERN_PORT: String(port),
      POSTERN_ADMIN_TOKEN: adminToken,
      POSTERN_OUTBOUND_ALLOW: allow.join(","),
      POSTERN_LOG_LEVEL: "warn",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exited = once(child, "exit");
    child.kill(signal);
    const [code] = await exited;
    return code;
  };
  // Whatever ends the demo: nothing of it is left running.
  process.once("exit", () => child.kill("SIGKILL"));
  const close = async () => {
    await end("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const setupLink = await printedLink(child);
    const baseUrl = `http://localhost:${port}`;
    return { baseUrl, adminToken, setupLink, stop: () => end("SIGTERM"), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The set-up link is the last thing it prints when it is ready. */
function printedLink(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let printed = "";
    const fail = () => reject(new Error(`The gateway did not start:\n${printed}`));
    const timer = setTimeout(fail, START_MS);
    const read = (chunk: string) => {
      printed = (printed + chunk).slice(-8000);
      const [link] = /http:\/\/\S+\/setup\?token=\S+(?=\s)/.exec(printed) ?? [];
      if (!link) return;
      clearTimeout(timer);
      resolve(link);
    };
    child.stdout?.setEncoding("utf8").on("data", read);
    child.stderr?.setEncoding("utf8").on("data", read);
    child.once("error", reject).once("exit", () => {
      clearTimeout(timer);
      fail();
    });
  });
}
