/**
 * A rotation in a process of its own, which dies where it is told to; else as `postern keys rotate --data`, but for how long
 * it waits. Its first argument is JSON; it ends with a line of JSON.
 */
import type { FaultPoint } from "../../src/base/index.ts";
import { commandWorld } from "../../src/commands/world.ts";
import { loadConfig } from "../../src/config.ts";
import { rotateKeys } from "../../src/keys/index.ts";
import { openSealedDatabase, sealedColumns } from "../../src/sealed-database.ts";

export interface RotateStart {
  environment: Record<string, string>;
  settleMs: number;
  /** The fault point, and how often it is reached before (from 1). */
  die?: { at: FaultPoint; nth: number };
}

const { environment, settleMs, die } = JSON.parse(process.argv[2]!) as RotateStart;
let left = die?.nth ?? 0;
const world = {
  ...commandWorld(),
  reach: (point: FaultPoint) => {
    // Nothing after this line runs: the signal cannot be caught.
    if (point === die?.at && --left === 0) process.kill(process.pid, "SIGKILL");
  },
};
const config = loadConfig({ environment });
const sealed = await openSealedDatabase(config, world, { existing: true });
const parts = { ...sealed, world, columns: sealedColumns, direct: config.encryptionKeys, settleMs };
console.log(JSON.stringify(await rotateKeys(parts, { newDataKey: true })));
await sealed.close();
await world.outbound.close();
