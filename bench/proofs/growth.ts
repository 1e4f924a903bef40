/*
 * Traffic that leaves nothing behind leaves nothing behind (AV-19, AV-25): node bench/proofs/growth.ts [--times 2000] [--write]
 *
 * A gateway on a SQLite file, every kind of visit of test/growth/traffic.ts that many times, 39 days, and all of it again. Fails when a
 * table has other rows than before, or the file more pages than after the first time and a tenth.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openGateway } from "../../src/app.ts";
import { loadConfig } from "../../src/config.ts";
import { listen } from "../../src/listen.ts";
import { rounds } from "../../test/growth/growth.ts";
import { visits } from "../../test/growth/traffic.ts";
import { addProtected } from "../../test/journeys/steps/main-job.ts";
import { Management } from "../../test/journeys/steps/management.ts";
import { startProtectedUpstream } from "../../test/journeys/steps/peers.ts";
import { Administrator } from "../../test/journeys/steps/person.ts";
import { freePort } from "../../test/peers/free-port.ts";
import { place, writeSection } from "./results.ts";

const { values } = parseArgs({
  options: { times: { type: "string", default: "2000" }, write: { type: "boolean", default: false } },
});
const times = Number(values.times);
const folder = mkdtempSync(join(tmpdir(), "postern-growth-"));
const databaseUrl = `sqlite:${folder}/postern.db`;
const adminToken = "an-administrator-token-for-proofs";
const guarded = await startProtectedUpstream();
const port = await freePort();
const config = loadConfig({
  environment: {
    POSTERN_PORT: String(port),
    POSTERN_BASE_URL: `http://127.0.0.1:${port}`,
    POSTERN_DATABASE_URL: databaseUrl,
    POSTERN_ADMIN_TOKEN: adminToken,
    POSTERN_OUTBOUND_ALLOW: guarded.allow.join(","),
    POSTERN_LOG_LEVEL: "error",
  },
});
let later = 0;
const gateway = await openGateway(config, { now: () => new Date(Date.now() + later) });
const server = await listen(gateway, "127.0.0.1", port);
const baseUrl = `http://127.0.0.1:${port}`;
const admin = new Management(baseUrl, adminToken);
const operator = new Administrator();
await operator.setUp((await gateway.setupLink())!);
const upstreamId = await addProtected(admin, operator, guarded);
const key = await admin.createKey("Alice", [upstreamId]);

const begun = performance.now();
let highest = 0;
const watching = setInterval(() => {
  highest = Math.max(highest, process.memoryUsage().rss);
}, 200);
const house = {
  ...{ baseUrl, databaseUrl, admin, upstreamId, key },
  advance: (ms: number) => {
    later += ms;
  },
  runJobs: () => gateway.runJobs(),
};
const [before, first, second] = await rounds(house, times);
clearInterval(watching);
const seconds = Math.round((performance.now() - begun) / 1000);
await server.stop();
await gateway.close();
await operator.close();
await guarded.close();
rmSync(folder, { recursive: true, force: true });
assert.deepEqual(first.rows, before.rows);
assert.deepEqual(second.rows, before.rows);
assert.ok(second.pages! <= first.pages! * 1.1, `${first.pages} pages, then ${second.pages}`);
const total = Object.keys(visits).length * times;
const lines = [
  `${place()} · \`node bench/proofs/growth.ts --times ${times} --write\``,
  "",
  `Two rounds of ${total.toLocaleString("en")} visits (${times.toLocaleString("en")} each of ${Object.keys(visits).length} kinds), 39 days after each, in ${seconds} s:`,
  `${Object.keys(before.rows).length} tables with as many rows as before, both times; the file had ${before.pages} pages, ${first.pages} after the first`,
  `round and ${second.pages} after the second. The process, peers and visitors included, had ${Math.round(highest / 1024 / 1024)} MiB at most.`,
  "",
  ...Object.keys(visits).map((name) => `- ${name}`),
];
console.log(lines.join("\n"));
if (values.write)
  writeSection(new URL("../proofs.md", import.meta.url), "Traffic that leaves nothing behind", lines);
