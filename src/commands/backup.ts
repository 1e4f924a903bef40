import { statSync } from "node:fs";
import { loadDatabaseUrl } from "../config.ts";
import { BackupFault, openSnapshot, type Written, writeBackup } from "../db/index.ts";
import { version } from "../version.ts";
import { readArguments } from "./arguments.ts";
import { type Command, CommandFailed } from "./command.ts";
import { Progress } from "./progress.ts";
import { commandWorld } from "./world.ts";

const usage = `Usage: postern backup <file> [--force]

Writes everything in the database of POSTERN_DATABASE_URL to one file, as it is at one moment. The gateway may go on
serving. The file is the same for SQLite and Postgres: postern restore reads it into either.

  --force    Replace the file if it is there

The encryption key is not in it. Keep the key too, and elsewhere: without it nobody can read what is sealed.`;

export const command: Command = {
  usage,
  run: async (args) => {
    const options = { force: { type: "boolean" } } as const;
    const { values, positionals } = readArguments(args, { options, positionals: ["file"], usage });
    await backup(positionals[0]!, values.force ?? false);
  },
};

async function backup(path: string, force: boolean): Promise<void> {
  const progress = new Progress("Backing up");
  const stopped = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopped.abort());
  const world = commandWorld();
  let written: Written;
  const snapshot = await openSnapshot(loadDatabaseUrl().reveal()).catch(told);
  try {
    written = await writeBackup(snapshot, {
      path,
      force,
      postern: version(),
      now: world.now(),
      signal: stopped.signal,
      progress: (table, rows) => progress.show(table, rows),
    });
  } catch (error) {
    if (stopped.signal.aborted) throw new CommandFailed("Stopped. There is no backup.");
    throw told(error);
  } finally {
    progress.done();
    await snapshot.close();
    await world.outbound.close();
  }
  const size = (statSync(path).size / 1024 / 1024).toFixed(1);
  const keys = written.header.key_ids.join(", ");
  console.log(
    `${path}: ${written.rows.toLocaleString("en")} rows, ${size} MiB, as of ${written.header.made_at}.`,
  );
  console.log(`The encryption key is not in it. It opens with: ${keys}. Keep that key elsewhere.`);
}

function told(error: unknown): never {
  throw error instanceof BackupFault ? new CommandFailed(error.message) : error;
}
