import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Pool } from "undici";
import { Provider } from "../crash/provider.ts";
import { eventually } from "../journeys/steps/eventually.ts";
import { Management } from "../journeys/steps/management.ts";
import { Administrator, assertPage, Person } from "../journeys/steps/person.ts";
import { adminToken } from "../support/gateway.ts";
import type { OpenReplica, Replica } from "./replica.ts";
import { ProtectedServer } from "./upstream.ts";

export interface RaceOptions {
  /** An empty Postgres database. */
  databaseUrl: string;
  openReplica: OpenReplica;
  replicas: number;
  rounds: number;
  callsPerReplica: number;
  /** Asked after every round: false ends the race early. */
  goOn?(done: number): boolean;
}

export interface RaceResult {
  rounds: number;
  calls: number;
  /** What went wrong, in words; none is what is to be shown. */
  failures: string[];
  /** Refresh tokens of this credential that the provider took. */
  redemptions: number;
  /** Rounds in which that was not exactly one. */
  oddRounds: number;
  /** The provider saw a spent refresh token, and ended the family. */
  isReused: boolean;
  /** Calls that reached the upstream with a token that did not count. */
  refusedCalls: number;
  /** From the first call of a round to the last answer, in milliseconds, in ascending order. */
  roundMs: number[];
}

const NAME = "race";
const HOUR_MS = 3600_000;

/**
 * Replicas of one gateway, one person's credential, and in every round as many calls as given on each replica at the moment at
 * which the access token has expired. The provider rotates refresh tokens and ends a family whose old token comes back.
 */
export async function race(options: RaceOptions): Promise<RaceResult> {
  const closing: (() => Promise<unknown>)[] = [];
  try {
    return await run(options, (close) => closing.push(close));
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

async function run(options: RaceOptions, keep: (close: () => Promise<unknown>) => void): Promise<RaceResult> {
  let later = 0;
  const provider = await new Provider("strict", () => Date.now() + later).start();
  keep(() => provider.close());
  const upstream = await new ProtectedServer(provider).start();
  keep(() => upstream.close());
  const replicas = await openReplicas(options, provider, upstream);
  for (const replica of replicas) keep(() => replica.stop());
  const key = await connect(replicas[0]!, upstream);
  const pools = replicas.map(({ url }) => new Pool(url, { connections: options.callsPerReplica }));
  for (const pool of pools) keep(() => pool.close());
  const wanted = call(key, provider.account);
  for (const pool of pools)
    await eventually("a replica serves the credential", async () => !(await wanted(pool)), 30_000);
  const result: RaceResult = {
    rounds: 0,
    calls: 0,
    failures: [],
    redemptions: 0,
    oddRounds: 0,
    isReused: false,
    refusedCalls: 0,
    roundMs: [],
  };
  const refusedBefore = upstream.refused;
  // The consent before was the administrator's, to read the tools with.
  const { spent } = provider.families.at(-1)!;
  for (let round = 1; round <= options.rounds; round++) {
    later += HOUR_MS;
    await Promise.all(replicas.map((replica) => replica.advance(HOUR_MS)));
    const before = spent.size;
    const begun = performance.now();
    const answers = await Promise.all(
      pools.flatMap((pool) => Array.from({ length: options.callsPerReplica }, () => wanted(pool))),
    );
    result.roundMs.push(performance.now() - begun);
    result.calls += answers.length;
    for (const answer of answers) if (answer !== undefined) result.failures.push(`round ${round}: ${answer}`);
    const redeemed = spent.size - before;
    result.redemptions += redeemed;
    if (redeemed !== 1) result.oddRounds += 1;
    result.rounds = round;
    if (options.goOn?.(round) === false) break;
  }
  result.refusedCalls = upstream.refused - refusedBefore;
  result.isReused = provider.families.some(({ ended }) => ended === "reuse");
  result.roundMs.sort((a, b) => a - b);
  return result;
}

async function openReplicas(
  { databaseUrl, openReplica, replicas }: RaceOptions,
  provider: Provider,
  upstream: ProtectedServer,
): Promise<Replica[]> {
  const options = {
    databaseUrl,
    encryptionKey: randomBytes(32).toString("base64"),
    outboundAllow: [new URL(provider.issuer).host, new URL(upstream.url).host],
  };
  const first = await openReplica(options);
  const others = Array.from({ length: replicas - 1 }, () => openReplica({ ...options, baseUrl: first.url }));
  return [first, ...(await Promise.all(others))];
}

/** An administrator adds the upstream, and the holder of a key connects an account there; resolves with the key. */
async function connect(replica: Replica, upstream: ProtectedServer): Promise<string> {
  const admin = new Management(replica.url, adminToken);
  const operator = new Administrator();
  await operator.setUp(replica.setupLink!);
  const pending = await admin.createUpstream({
    name: NAME,
    connection_string: upstream.url,
    auth_type: "per_user_oauth",
  });
  await operator.connect(pending.authorize_url);
  await admin.expect(200, "POST", new URL(pending.complete_url, replica.url).pathname);
  await admin.refreshTools(pending.mcp_client_id);
  await operator.close();
  const key = await admin.createKey("Racer", [pending.mcp_client_id]);
  const pool = new Pool(replica.url);
  const asked = await call(key.value, "")(pool);
  await pool.close();
  const link = /https?:[^\s"\\]+/.exec(asked ?? "")?.[0];
  assert.ok(link, `no link in ${asked}`);
  const person = new Person(key.value);
  assertPage(await person.connect(link));
  await person.close();
  return key.value;
}

/** One `tools/call`, by whoever holds the key; resolves with what came instead of this account's name. */
function call(key: string, account: string): (pool: Pool) => Promise<string | undefined> {
  const name = `${NAME}-whoami`;
  const _meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": { name: "race", version: "1" },
  };
  const headers = {
    accept: "application/json, text/event-stream",
    "content-type": "application/json",
    authorization: `Bearer ${key}`,
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": name,
  };
  const params = { name, arguments: {}, _meta };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
  const good = `"text":"${account}"`;
  return async (pool) => {
    const answer = await pool.request({ path: "/mcp", method: "POST", headers, body });
    const said = await answer.body.text();
    const isGood = answer.statusCode === 200 && account !== "" && said.includes(good);
    return isGood ? undefined : `${answer.statusCode} ${said.slice(0, 500)}`;
  };
}
