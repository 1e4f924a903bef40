/*
 * Takes Postgres away from a gateway for thirty seconds under load: `node bench/proofs/outage.ts`. Warm calls must go on,
 * everything else must be 503 within a bounded time, and all must be well again within ten seconds.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { eventually } from "../../test/journeys/steps/eventually.ts";
import { addProtected } from "../../test/journeys/steps/main-job.ts";
import { Management } from "../../test/journeys/steps/management.ts";
import { linkOf, signIn } from "../../test/journeys/steps/mcp-client.ts";
import { startProtectedUpstream } from "../../test/journeys/steps/peers.ts";
import { Administrator, assertPage, Person } from "../../test/journeys/steps/person.ts";
import { freePort } from "../../test/peers/free-port.ts";
import { freshPostgresDatabase } from "../../test/postgres/database.ts";
import { PostgresProxy } from "../../test/postgres/proxy.ts";
import { startPostgres } from "../../test/postgres/start-postgres.ts";
import { ADMIN_TOKEN, spawnReplica, started } from "./replica.ts";
import { place, writeSection } from "./results.ts";

const OUTAGE_MS = Number(process.argv[2] ?? 30) * 1_000;
const RECOVERS_MS = 10_000;
const CALLERS = 8;
const WRITERS = 16;
const WHOAMI = { name: "protected-whoami", arguments: {} };

await using stack = new AsyncDisposableStack();
const postgres = await startPostgres();
stack.defer(() => postgres.stop());
const { url } = await freshPostgresDatabase(postgres.url);
const proxy = stack.use(await PostgresProxy.before(url));
const guarded = await startProtectedUpstream();
stack.defer(() => guarded.close());
const port = await freePort();
const baseUrl = `http://127.0.0.1:${port}`;
const encryptionKey = randomBytes(32).toString("base64");
const gateway = await started(
  spawnReplica(join(import.meta.dirname, "../.."), {
    port,
    baseUrl,
    databaseUrl: proxy.url,
    encryptionKey,
    allow: guarded.allow,
  }),
);
stack.defer(() => gateway.kill());

const admin = new Management(baseUrl, ADMIN_TOKEN);
const operator = stack.adopt(new Administrator(), (one) => one.close());
await operator.setUp(/http\S+\/setup\?token=\S+/.exec(gateway.output)![0]);
const upstreamId = await addProtected(admin, operator, guarded);
const plenty = { requests: 1_000_000, window_seconds: 60 };
await admin.expect(200, "PUT", "/api/config", { limits: { guess: plenty, api: plenty } });
const key = await admin.createKey("Alice", [upstreamId]);
const person = stack.adopt(new Person(key.value), (one) => one.close());
const { client, oauth } = await signIn(baseUrl, person);
assertPage(await person.connect(linkOf(await client.callTool(WHOAMI), "protected")));
await client.close();

type Phase = "before" | "away" | "after";
let phase: Phase = "before";
let isOver = false;
const calls = { before: 0, away: 0, after: 0 };
const failedCalls = { before: 0, away: 0, after: 0 };
const writes = { before: new Map<number, number>(), away: new Map(), after: new Map<number, number>() };
let longestMs = 0;

async function caller(): Promise<void> {
  while (!isOver) {
    const during = phase;
    const answer = await fetch(`${baseUrl}/mcp`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${oauth.saved!.access_token}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": "2025-11-25",
      },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: WHOAMI }),
    });
    calls[during] += 1;
    if (!(await answer.text()).includes("alice")) failedCalls[during] += 1;
    await pause(10);
  }
}

/** Something that is stored and that nobody has in memory. */
const write = () =>
  admin.send("POST", "/api/tokens", {
    name: randomBytes(6).toString("hex"),
    role: "admin",
    scopes: ["read:audit"],
  });

async function writer(): Promise<void> {
  while (!isOver) {
    const during = phase;
    const startedAt = performance.now();
    const { status } = await write();
    if (during === "away") longestMs = Math.max(longestMs, performance.now() - startedAt);
    writes[during].set(status, (writes[during].get(status) ?? 0) + 1);
    await pause(20);
  }
}

assert.equal((await write()).status, 200);
const load = Promise.all([
  ...Array.from({ length: CALLERS }, caller),
  ...Array.from({ length: WRITERS }, writer),
]);
// What ends it early is told by whoever waits first.
load.catch(() => {});
await pause(5_000);
const memoryBefore = gateway.memory();
phase = "away";
proxy.refuse();
await pause(OUTAGE_MS / 2);
const memoryMiddle = gateway.memory();
await pause(OUTAGE_MS / 2);
const memoryEnd = gateway.memory();
const restoredAt = performance.now();
proxy.restore();
await eventually("it is ready", async () => (await fetch(`${baseUrl}/ready`)).ok, RECOVERS_MS);
const readyMs = Math.round(performance.now() - restoredAt);
await eventually("it stores again", async () => (await write()).status === 200, RECOVERS_MS);
const writesMs = Math.round(performance.now() - restoredAt);
phase = "after";
await pause(5_000);
isOver = true;
await load;
const made = calls.before + calls.away + calls.after;
let audited = 0;
await eventually("every call stands in the audit", async () => {
  const answer = await fetch(`${baseUrl}/api/audit/export?event=call.made`, {
    headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
  });
  audited = (await answer.text()).trimEnd().split("\n").length;
  return audited >= made - failedCalls.before - failedCalls.away - failedCalls.after;
});
gateway.kill("SIGTERM");
assert.equal(await gateway.exit, 0, gateway.output);

const show = (statuses: Map<number, number>) =>
  [...statuses].map(([status, count]) => `${count} × ${status}`).join(", ");
const lines = [
  `Written by \`node bench/proofs/outage.ts\`, ${place()}.`,
  "",
  `One gateway, ${CALLERS} callers and ${WRITERS} writers at once; a proxy in front of its Postgres cuts every connection and refuses new`,
  `ones for ${OUTAGE_MS / 1_000} s:`,
  "",
  "| | before | away | after |",
  "|---|---|---|---|",
  `| warm calls | ${calls.before} | ${calls.away} | ${calls.after} |`,
  `| of them failed | ${failedCalls.before} | ${failedCalls.away} | ${failedCalls.after} |`,
  `| writes | ${show(writes.before)} | ${show(writes.away)} | ${show(writes.after)} |`,
  "",
  `The slowest answer to a write was after ${Math.round(longestMs)} ms. \`/ready\` said 200 ${readyMs} ms after the end of the outage, a write`,
  `succeeded after ${writesMs} ms. ${audited} calls stand in the audit trail. Memory was ${memoryBefore} MiB before, ${memoryMiddle} MiB in the`,
  `middle, ${memoryEnd} MiB at the end.`,
];
console.log(lines.join("\n"));
const failed = failedCalls.before + failedCalls.away + failedCalls.after;
const others = [...writes.away.keys()].filter((status) => status !== 503 && status !== 200);
if (failed > CALLERS || others.length > 0) process.exitCode = 1;
else writeSection(new URL("../proofs.md", import.meta.url), "Outage", lines);
