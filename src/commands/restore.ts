import { Audit } from "../audit/index.ts";
import { Seal, type World } from "../base/index.ts";
import { type Config, loadConfig } from "../config.ts";
import {
  BackupFault,
  type BackupHeader,
  type Database,
  endFlowsAfterRestore,
  type Restored,
  restoreBackup,
  type Tx,
} from "../db/index.ts";
import { endEverySession } from "../identity/index.ts";
import { endStaleGrants } from "../issuer/index.ts";
import { DataKeys } from "../keys/index.ts";
import { keyProviders, sealedColumns } from "../sealed-database.ts";
import { releaseLeases } from "../vault/index.ts";
import { readArguments } from "./arguments.ts";
import { type Command, CommandFailed } from "./command.ts";
import { Progress } from "./progress.ts";
import { commandWorld } from "./world.ts";

const usage = `Usage: postern restore <file> [--force] [--end-all-grants] [--config <file>]

Makes the database of POSTERN_DATABASE_URL from a backup, SQLite or Postgres, whichever the backup was made of. Every gateway
must be stopped, and the encryption key of the backup must be configured. It happens as a whole or not at all.

  --force             The database is not empty: keep it under another name (SQLite: a file beside it; Postgres: a schema)
  --end-all-grants    Every client must ask for consent again. For a backup from before something was revoked that
                      must stay revoked
  --config <file>     The configuration file, as for postern serve`;

export const command: Command = {
  usage,
  run: async (args) => {
    const options = {
      force: { type: "boolean" },
      "end-all-grants": { type: "boolean" },
      config: { type: "string" },
    } as const;
    const { values, positionals } = readArguments(args, { options, positionals: ["file"], usage });
    const config = loadConfig({ file: values.config, makeKey: false });
    await restore(config, positionals[0]!, {
      force: values.force ?? false,
      endAllGrants: values["end-all-grants"] ?? false,
    });
  },
};

interface Choices {
  force: boolean;
  endAllGrants: boolean;
}

/** What ended with the restore. */
interface Ended {
  flows: number;
  grants: number;
  sessions: number;
}

async function restore(config: Config, path: string, { force, endAllGrants }: Choices): Promise<void> {
  const world = commandWorld(config.logLevel);
  const progress = new Progress("Restoring");
  const ended: Ended = { flows: 0, grants: 0, sessions: 0 };
  try {
    const restored = await restoreBackup({
      path,
      url: config.databaseUrl.reveal(),
      force,
      now: world.now(),
      progress: (table, rows) => progress.show(table, rows),
      finish: async (tx, kind, header) => {
        await proveKeys(config, world, tx, kind);
        Object.assign(ended, await endWhatIsStale(tx, world, header, endAllGrants));
      },
    });
    progress.done();
    report(path, restored, ended);
  } catch (error) {
    progress.done();
    throw error instanceof BackupFault ? new CommandFailed(error.message) : error;
  } finally {
    await world.outbound.close();
  }
}

/** Rejects with `WrongKey` when what is configured does not open what has just been written (R28). */
async function proveKeys(config: Config, world: World, tx: Tx, kind: Database["kind"]): Promise<void> {
  const providers = keyProviders(config, world);
  const seal = new Seal(config.encryptionKeys, world.random);
  try {
    const direct = config.encryptionKeys;
    await new DataKeys({ world, seal, providers, direct, columns: sealedColumns }).check(tx, kind);
  } finally {
    for (const provider of providers) await provider.close();
  }
}

async function endWhatIsStale(
  tx: Tx,
  world: World,
  header: BackupHeader,
  endAllGrants: boolean,
): Promise<Ended> {
  const ended: Ended = {
    flows: await endFlowsAfterRestore(tx, world, header),
    grants: await endStaleGrants(tx, world.now().getTime(), endAllGrants),
    sessions: await endEverySession(tx),
  };
  await releaseLeases(tx);
  // It only writes in the transaction.
  const database = { insertMany: async () => {} };
  await new Audit({ database, world }).append(tx, {
    event: "database.restored",
    actor: "system",
    detail: { backup_made_at: header.made_at, ...ended },
  });
  return ended;
}

function report(path: string, { header, rows, keptAside }: Restored, ended: Ended): void {
  console.log(`${rows.toLocaleString("en")} rows restored from ${path}, as of ${header.made_at}.`);
  if (keptAside) console.log(`What was there before is kept: ${keptAside}`);
  console.log(`Ended, since they may have been used after the backup: ${ended.flows} links and consents under way, ${ended.grants}
grants whose client may have renewed its tokens, and ${ended.sessions} sign-ins.`);
  console.log(`What was revoked, removed or switched off after ${header.made_at} is back. End it again before you start the
gateway for everybody: docs/guide/backup.md says how.`);
}
