import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { learnSecret } from "../support/known-secrets.ts";
import { examine } from "../support/leavings.ts";

const ROOT = join(import.meta.dirname, "../..");
const TELL = join(import.meta.dirname, "tell-secrets.ts");
const START_MS = 30_000;

export interface ProcessOptions {
  /** `npm start`, or the entry file under this Node. */
  through?: "npm" | "node";
  environment: Record<string, string>;
  args?: string[];
  /** For Node itself; not through npm. */
  flags?: string[];
}

/** The gateway as an operator runs it: its own process, its own folder for data, nothing inherited but the PATH. */
export class GatewayProcess implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "postern-process-"));
  readonly child: ChildProcess;
  readonly #secrets = `${this.folder}.secrets`;
  output = "";

  constructor({ through = "node", environment, args = [], flags = [] }: ProcessOptions) {
    const [command, parameters] =
      through === "npm"
        ? ["npm", ["start", "--silent"]]
        : [
            process.execPath,
            [...flags, "--import", TELL, join(ROOT, "src/main.ts"), ...(args.length > 0 ? args : ["serve"])],
          ];
    this.child = spawn(command, parameters, {
      cwd: ROOT,
      env: {
        PATH: process.env.PATH,
        HOME: this.folder,
        POSTERN_DATABASE_URL: `sqlite:${this.folder}/postern.db`,
        ...(through === "node" ? { POSTERN_TEST_SECRETS: this.#secrets } : {}),
        ...environment,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
        this.child.emit("output");
      });
    }
  }

  /** Resolves when the output says so; rejects when the process ends first or takes too long. */
  async says(text: string): Promise<void> {
    const deadline = AbortSignal.timeout(START_MS);
    const over = once(this.child, "exit", { signal: deadline }).then(() => {
      throw new Error(`ended before it said "${text}":\n${this.output}`);
    });
    const said = (async () => {
      while (!this.output.includes(text)) await once(this.child, "output", { signal: deadline });
    })();
    over.catch(() => {});
    said.catch(() => {});
    await Promise.race([said, over]);
  }

  /** The exit code; null when a signal ended it. */
  async exit(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, "exit");
    return this.child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.exit();
    this.examine();
    rmSync(this.#secrets, { force: true });
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Holds what it printed and wrote so far against its secrets (ST-01), except its key file and the set-up link. */
  examine(): void {
    if (existsSync(this.#secrets)) {
      const lines = readFileSync(this.#secrets, "utf8").split("\n").filter(Boolean);
      for (const line of lines) learnSecret(...(JSON.parse(line) as [string, string]));
    }
    examine("the process's output", this.output.replaceAll(/(?<=\/setup\?token=)\S+/g, ""));
    for (const entry of readdirSync(this.folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || entry.name === "postern.key") continue;
      examine(`the file ${entry.name}`, readFileSync(join(entry.parentPath, entry.name)));
    }
  }
}
