import assert from "node:assert/strict";
import { mainJob } from "../test/journeys/steps/main-job.ts";
import { startPeers } from "../test/journeys/steps/peers.ts";
import { startGatewayProcess } from "./gateway-process.ts";

/** Nothing here takes longer than a few seconds; a demo that hangs has failed. */
const LIMIT_MS = 55_000;

const toClose: (() => Promise<void>)[] = [];
const limit = setTimeout(
  () => void finish(new Error(`It took longer than ${LIMIT_MS / 1000} seconds.`)),
  LIMIT_MS,
);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void finish(new Error("Interrupted.")));
}

walk().then(() => finish(), finish);

async function walk(): Promise<void> {
  console.log("Postern: one person, one client, one upstream, their own credential\n");
  const peers = await startPeers();
  toClose.push(peers.close);
  verified("Two real upstream servers and an OAuth provider run on this machine");
  const gateway = await startGatewayProcess(peers.allow);
  toClose.push(gateway.close);
  verified(`The gateway runs at ${gateway.baseUrl}, with SQLite in a temporary folder`);
  for await (const sentence of mainJob(gateway, peers)) verified(sentence);
  assert.equal(await gateway.stop(), 0, "the gateway did not stop cleanly");
  verified("The gateway stopped cleanly");
}

function verified(sentence: string): void {
  console.log(`  ✔ ${sentence}`);
}

let finishing = false;
async function finish(error?: unknown): Promise<void> {
  if (finishing) return;
  finishing = true;
  clearTimeout(limit);
  if (error !== undefined) console.error(`  ✘ ${error instanceof Error ? error.message : String(error)}`);
  for (const close of toClose.reverse()) await close().catch(() => {});
  console.log(
    error === undefined
      ? "\nEvery step was verified."
      : "\nThe demo stopped at the step after the last check mark.",
  );
  process.exit(error === undefined ? 0 : 1);
}
