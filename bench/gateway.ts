import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { request } from "undici";
import { freePort } from "../test/peers/free-port.ts";
import { stopProcess } from "./child.ts";
import { account } from "./sign-in.ts";

const main = fileURLToPath(new URL("../bin/postern.mjs", import.meta.url));
const START_TIMEOUT_MS = 30_000;

export interface GatewayOptions {
  /** Holds the database, the configuration file and the log. */
  folder: string;
  adminToken: string;
  /** Origins on loopback that it may reach. */
  reachable: string[];
  /** The entries of `mcp.client_configs`. */
  upstreams: Record<string, unknown>[];
  /** Where the processor profile goes; default none is made. */
  profileFolder?: string;
}

/** Postern as an operator runs it, with a database of its own. */
export class Gateway {
  readonly origin: string;
  readonly #options: GatewayOptions;
  #process: ChildProcess | undefined;

  constructor(origin: string, options: GatewayOptions) {
    this.origin = origin;
    this.#options = options;
  }

  get pid(): number {
    return this.#process!.pid!;
  }

  /** Starts it, for the first time or again on the same database and port, and waits until it is ready. */
  async start(): Promise<void> {
    const log = openSync(this.#logFile, "a");
    this.#process = spawn(process.execPath, this.#arguments(), {
      cwd: this.#options.folder,
      env: this.#environment(),
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    const child = this.#process;
    const endWithUs = () => child.kill();
    process.once("exit", endWithUs);
    child.once("exit", () => process.off("exit", endWithUs));
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!(await this.#isReady())) {
      if (this.#process.exitCode !== null || performance.now() > deadline) throw this.#didNotStart();
      await pause(5);
    }
  }

  async stop(): Promise<void> {
    if (this.#process) await stopProcess(this.#process);
  }

  get #logFile(): string {
    return join(this.#options.folder, "gateway.log");
  }

  #arguments(): string[] {
    const { profileFolder } = this.#options;
    const profiling = profileFolder ? ["--cpu-prof", `--cpu-prof-dir=${profileFolder}`] : [];
    return [...profiling, main, "serve", "--config", configFile(this.#options)];
  }

  /** Nothing of the caller's own Postern settings. */
  #environment(): NodeJS.ProcessEnv {
    const { reachable, folder, adminToken } = this.#options;
    const others = Object.entries(process.env).filter(([name]) => !name.startsWith("POSTERN_"));
    return {
      ...Object.fromEntries(others),
      POSTERN_PORT: new URL(this.origin).port,
      POSTERN_BASE_URL: this.origin,
      POSTERN_DATABASE_URL: `sqlite:${join(folder, "postern.db")}`,
      POSTERN_ADMIN_TOKEN: adminToken,
      POSTERN_ADMIN_EMAIL: account.email,
      POSTERN_ADMIN_PASSWORD: account.password,
      POSTERN_OUTBOUND_ALLOW: reachable.map((origin) => new URL(origin).host).join(","),
    };
  }

  async #isReady(): Promise<boolean> {
    try {
      const { statusCode, body } = await request(`${this.origin}/ready`);
      await body.dump();
      return statusCode === 200;
    } catch {
      return false;
    }
  }

  #didNotStart(): Error {
    return new Error(
      `The gateway did not start. It says:\n${readFileSync(this.#logFile, "utf8").slice(-3000)}`,
    );
  }
}

export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  mkdirSync(options.folder, { recursive: true });
  const config = { mcp: { client_configs: options.upstreams } };
  writeFileSync(configFile(options), JSON.stringify(config));
  const gateway = new Gateway(`http://127.0.0.1:${await freePort()}`, options);
  await gateway.start();
  return gateway;
}

function configFile({ folder }: GatewayOptions): string {
  return join(folder, "postern.config.json");
}
