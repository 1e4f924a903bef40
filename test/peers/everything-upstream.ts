import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export interface EverythingUpstream {
  /** Its MCP endpoint on 127.0.0.1. */
  url: string;
  close(): Promise<void>;
}

const START_MS = 30_000;

/** Starts the official `@modelcontextprotocol/server-everything` (older era, with sessions) as a process of its own. */
export async function startEverythingUpstream(
  transport: "streamableHttp" | "sse" = "streamableHttp",
): Promise<EverythingUpstream> {
  const entry = fileURLToPath(import.meta.resolve("@modelcontextprotocol/server-everything/dist/index.js"));
  const preload = new URL("everything-preload.ts", import.meta.url).href;
  const child = spawn(process.execPath, ["--import", preload, entry, transport], {
    cwd: join(dirname(entry), ".."),
    env: { PATH: process.env.PATH, PORT: "0" },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  try {
    const port = await portOf(child);
    return {
      url: `http://127.0.0.1:${port}/${transport === "sse" ? "sse" : "mcp"}`,
      close: () => end(child),
    };
  } catch (error) {
    await end(child);
    throw error;
  }
}

function portOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let log = "";
    const fail = (): void => reject(new Error(`server-everything did not start: ${log}`));
    const timer = setTimeout(fail, START_MS);
    child.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
      log = (log + chunk).slice(-4000);
    });
    child.once("exit", fail).once("error", reject);
    child.once("message", (message) => {
      clearTimeout(timer);
      resolve((message as { port: number }).port);
    });
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}
