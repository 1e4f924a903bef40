/*
 * Replaces the replicas of an earlier version by this one's, one after the other, on one Postgres and under load:
 * `node bench/proofs/upgrade.ts [commit]`. No call may fail after one retry, and what began at one version must finish at
 * the other.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import {
  type StoredOAuthTokens,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from "@modelcontextprotocol/client";
import { eventually } from "../../test/journeys/steps/eventually.ts";
import { addProtected } from "../../test/journeys/steps/main-job.ts";
import { Management } from "../../test/journeys/steps/management.ts";
import { linkOf, newClient, openClient, signIn, textOf } from "../../test/journeys/steps/mcp-client.ts";
import { startProtectedUpstream } from "../../test/journeys/steps/peers.ts";
import { Administrator, assertPage, Person } from "../../test/journeys/steps/person.ts";
import { freePort } from "../../test/peers/free-port.ts";
import { OAuthPerson } from "../../test/peers/oauth-person.ts";
import { freshPostgresDatabase } from "../../test/postgres/database.ts";
import { startPostgres } from "../../test/postgres/start-postgres.ts";
import { Balancer } from "../../test/replica-proof/balancer.ts";
import { ADMIN_TOKEN, BEFORE, type Replica, spawnReplica, started, versionAt } from "./replica.ts";
import { place, writeSection } from "./results.ts";

const ROOT = join(import.meta.dirname, "../..");
const WHOAMI = { name: "protected-whoami" };
const CALLERS = 8;
/** Each stage under load lasts at least so long. */
const STAGE_MS = 4_000;

const commit = process.argv[2] ?? BEFORE;
await using stack = new AsyncDisposableStack();

const earlier = versionAt(commit);
stack.defer(() => rmSync(earlier, { recursive: true, force: true }));

const postgres = await startPostgres();
stack.defer(() => postgres.stop());
const { url: databaseUrl } = await freshPostgresDatabase(postgres.url);
const guarded = await startProtectedUpstream();
stack.defer(() => guarded.close());
const balancer = stack.use(await Balancer.open());
const baseUrl = `http://127.0.0.1:${balancer.port}`;

const shared = {
  baseUrl,
  databaseUrl,
  encryptionKey: randomBytes(32).toString("base64"),
  allow: guarded.allow,
};
const spawned = (root: string, port: number) => {
  const replica = spawnReplica(root, { ...shared, port });
  stack.defer(() => replica.kill());
  return replica;
};
const start = async (root: string) => started(spawned(root, await freePort()));

const old = [await start(earlier), await start(earlier)];
balancer.point(old[1]!.port);
const setupLink = /http\S+\/setup\?token=\S+/g;
const admin = new Management(baseUrl, ADMIN_TOKEN);
const operator = stack.adopt(new Administrator(), (one) => one.close());
// The last of them ended the link of the first.
await operator.setUp(old[1]!.output.match(setupLink)!.at(-1)!);
// One address makes all of this.
const plenty = { requests: 100_000, window_seconds: 60 };
const limits = { guess: plenty, register: plenty, authorize: plenty, token: plenty, api: plenty };
await admin.expect(200, "PUT", "/api/config", { limits });
const upstreamId = await addProtected(admin, operator, guarded);
balancer.point(...old.map(({ port }) => port));

async function newPerson(): Promise<Person> {
  const key = await admin.createKey(`Person ${randomBytes(4).toString("hex")}`, [upstreamId]);
  return stack.adopt(new Person(key.value), (one) => one.close());
}

/** A client of somebody who has connected an account. */
async function connected() {
  const person = await newPerson();
  const signedIn = await signIn(baseUrl, person);
  assertPage(await person.connect(linkOf(await signedIn.client.callTool(WHOAMI), "protected")));
  assert.equal(textOf(await signedIn.client.callTool(WHOAMI)), "alice");
  await signedIn.client.close();
  return { person, oauth: signedIn.oauth };
}

/** A sign-in up to the code, which is redeemed later. */
async function halfSignedIn() {
  const person = await newPerson();
  const oauth = new OAuthPerson(person.browser, {
    walk: (_browser, url) => person.allow(url, oauth.redirectUrl),
  });
  const transport = new StreamableHTTPClientTransport(new URL("/mcp", baseUrl), { authProvider: oauth });
  await assert.rejects(newClient({}).connect(transport), UnauthorizedError);
  return async () => {
    await transport.finishAuth(oauth.callback!);
    const client = await openClient(baseUrl, oauth);
    const link = linkOf(await client.callTool(WHOAMI), "protected");
    await client.close();
    return { person, oauth, link };
  };
}

const counts = { calls: 0, retried: 0, failed: 0, refreshed: 0, signIns: 0 };
const failures: string[] = [];
let isOver = false;

async function twice<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === 0) {
        counts.retried += 1;
        // Within a second a replica knows what another did.
        await pause(1_000);
        continue;
      }
      counts.failed += 1;
      failures.push(`${what}: ${error}`);
      return undefined;
    }
  }
}

async function call(token: string): Promise<void> {
  const answer = await fetch(new URL("/mcp", baseUrl), {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2025-11-25",
    },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "tools/call",
      params: { ...WHOAMI, arguments: {} },
    }),
  });
  const text = await answer.text();
  if (answer.status !== 200 || !text.includes("alice"))
    throw new Error(`${answer.status} ${text.slice(0, 300)}`);
}

const metadata = await fetch(`${baseUrl}/.well-known/oauth-authorization-server`);
const { token_endpoint: tokenEndpoint } = (await metadata.json()) as { token_endpoint: string };

async function caller(): Promise<void> {
  const { oauth } = await connected();
  const id = oauth.clientInformation()!.client_id;
  for (let at = 0; !isOver; at++) {
    counts.calls += 1;
    await twice("call", () => call(oauth.saved!.access_token));
    if (at % 25 === 24) {
      const form = { grant_type: "refresh_token", refresh_token: oauth.saved!.refresh_token!, client_id: id };
      await twice("refresh", async () => {
        const answer = await fetch(tokenEndpoint, { method: "POST", body: new URLSearchParams(form) });
        if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
        oauth.saveTokens((await answer.json()) as StoredOAuthTokens);
        counts.refreshed += 1;
      });
    }
    await pause(5);
  }
}

async function newcomers(): Promise<void> {
  while (!isOver) {
    await twice("sign-in", async () => {
      await connected();
      counts.signIns += 1;
    });
    await pause(100);
  }
}

const startedAt = performance.now();
const load = [...Array.from({ length: CALLERS }, caller), newcomers()];
const fromOld = [await halfSignedIn(), await halfSignedIn()];
const before = await connected();
await pause(STAGE_MS);

const migratedAt = performance.now();
const young: Replica[] = [await start(ROOT)];
const startMs = Math.round(performance.now() - migratedAt);
// Both versions serve.
balancer.point(...old.map(({ port }) => port), young[0]!.port);
await pause(STAGE_MS);

// What began at the version before finishes at this one, while both are there.
balancer.point(young[0]!.port);
const crossed = await fromOld[0]!();
balancer.point(...old.map(({ port }) => port));
assertPage(await crossed.person.connect(crossed.link));
await call(crossed.oauth.saved!.access_token);
// And the other way round.
balancer.point(young[0]!.port);
const fromYoung = await halfSignedIn();
const stored = await connected();
balancer.point(...old.map(({ port }) => port));
const back = await fromYoung();
assertPage(await back.person.connect(back.link));
await eventually("the version before opens what this one stored", () =>
  call(stored.oauth.saved!.access_token).then(
    () => true,
    () => false,
  ),
);

for (const [at, replica] of old.entries()) {
  if (at > 0) young.push(await start(ROOT));
  const rest = old.slice(at + 1);
  balancer.point(...[...rest, ...young].map(({ port }) => port));
  replica.kill("SIGTERM");
  assert.equal(await replica.exit, 0, "an old replica did not stop cleanly");
  await pause(STAGE_MS);
}
const late = await fromOld[1]!();
assertPage(await late.person.connect(late.link));
for (const { oauth } of [late, before, crossed, back, stored]) await call(oauth.saved!.access_token);
isOver = true;
await Promise.all(load);
const seconds = Math.round((performance.now() - startedAt) / 1000);

const exitCode = await spawned(earlier, await freePort()).exit;
assert.notEqual(exitCode, 0, "the version before started on the newer schema");

const lines = [
  `Written by \`node bench/proofs/upgrade.ts\`, ${place()}.`,
  "",
  `Two replicas of ${commit} replaced one after the other by two of this version, on one Postgres, under load (${seconds} s):`,
  "",
  "| | |",
  "|---|---|",
  `| calls | ${counts.calls} |`,
  `| sign-ins with an account connected | ${counts.signIns} |`,
  `| refreshes of a client's token | ${counts.refreshed} |`,
  `| tried a second time | ${counts.retried} |`,
  `| failed after that | ${counts.failed} |`,
  `| first replica of this version, migration included | ready after ${startMs} ms |`,
  "",
  "Codes, connect links, tokens and credentials of each version were used at the other, in both directions. Started again on the",
  `newer schema, the version before ended with exit code ${exitCode}.`,
];
console.log(lines.join("\n"));
for (const failure of failures.slice(0, 10)) console.error(failure);
if (counts.failed > 0) process.exitCode = 1;
else writeSection(new URL("../proofs.md", import.meta.url), "Upgrade", lines);
