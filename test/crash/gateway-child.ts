/**
 * A gateway in a process of its own that dies where it is told to: the only program that gives a gateway a World whose
 * `reach` does anything. Its parent speaks to it over the IPC channel (gateway-at-risk.ts).
 */
import { openGateway } from "../../src/app.ts";
import { type FaultPoint, openLog, openOutbound, systemWorld } from "../../src/base/index.ts";
import { loadConfig } from "../../src/config.ts";
import { rotateKeys } from "../../src/keys/index.ts";
import { listen } from "../../src/listen.ts";
import { openSealedDatabase, sealedColumns } from "../../src/sealed-database.ts";

/** What the parent says. `die`: at the point, when it is reached for the n-th time from now on (from 1). */
export type Order =
  | { order: "die"; at: FaultPoint; nth: number }
  | { order: "advance"; ms: number }
  /** What SIGTERM does. */
  | { order: "stop" }
  /** What jobs do now and then, at once. */
  | { order: "jobs" };

/** What it is started with, as JSON in its first argument. */
export interface Start {
  environment: Record<string, string>;
  /** How far its clock is ahead, in milliseconds. */
  later: number;
  /** Not a gateway: `postern keys rotate --data` beside one. */
  task?: "rotate";
  /** Armed before it opens its database. */
  die?: { at: FaultPoint; nth: number };
}

const start = JSON.parse(process.argv[2] ?? "{}") as Start;
let { later, die } = start;

function reach(point: FaultPoint): void {
  if (die?.at !== point || --die.nth > 0) return;
  // Nothing after this line runs: the signal cannot be caught, and it is there before the call returns.
  process.kill(process.pid, "SIGKILL");
}

if (start.task === "rotate") await rotate();

const config = loadConfig({ environment: start.environment });
// Whoever tests a crash is one address with many people.
for (const limit of Object.values(config.limits)) limit.requests = 1_000_000;
// Somebody may go without an identity, so that a grant can be one of its own.
config.settings.enforceAuthOnInference = false;
const gateway = await openGateway(config, { now: () => new Date(Date.now() + later), reach });
const server = await listen(gateway, config.host, config.port);
await gateway.startJobs();

async function stop(): Promise<void> {
  await server.stop();
  await gateway.close();
  process.exit(0);
}

async function rotate(): Promise<never> {
  const config = loadConfig({ environment: start.environment, makeKey: false });
  const outbound = openOutbound({ allow: { admin: [], stranger: [] } });
  const world = { ...systemWorld({ outbound, log: openLog("error") }), reach };
  const opened = await openSealedDatabase(config, world, { existing: true });
  const parts = { ...opened, world, columns: sealedColumns, direct: config.encryptionKeys, settleMs: 0 };
  await rotateKeys(parts, { newDataKey: true });
  await opened.close();
  process.exit(0);
}

process.on("message", async (message: Order) => {
  if (message.order === "die") die = { at: message.at, nth: message.nth };
  else if (message.order === "advance") later += message.ms;
  else if (message.order === "jobs") await gateway.runJobs();
  else void stop();
  process.send?.({ done: message.order });
});
// Its parent is gone: nobody will ever ask for anything again.
process.on("disconnect", () => process.exit());
process.send?.({ done: "start" });
