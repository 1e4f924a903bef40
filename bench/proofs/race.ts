/**
 * The race proof in full: four replicas, each in a process of its own, on one Postgres; in each of 1,000 rounds 100 parallel
 * calls on each of them at the moment at which the access token has expired. The provider rotates refresh tokens and ends a
 * family whose old token comes back. The test command has the same in short (`test/race/race.test.ts`).
 *
 *   node bench/proofs/race.ts [--rounds 1000] [--calls 100] [--replicas 4] [--minutes 60] [--write]
 */
import { parseArgs } from "node:util";
import { freshPostgresDatabase } from "../../test/postgres/database.ts";
import { startPostgres } from "../../test/postgres/start-postgres.ts";
import { type RaceResult, race } from "../../test/race/race.ts";
import { openApart } from "../../test/race/replica.ts";
import { place, writeSection } from "./results.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "1000" },
    calls: { type: "string", default: "100" },
    replicas: { type: "string", default: "4" },
    // Of rounds; what was shown until then is written down.
    minutes: { type: "string", default: "60" },
    write: { type: "boolean", default: false },
  },
});
const [rounds, callsPerReplica, replicas] = [values.rounds, values.calls, values.replicas].map(Number) as [
  number,
  number,
  number,
];
const postgres = await startPostgres();
const begun = performance.now();
try {
  const { url } = await freshPostgresDatabase(postgres.url);
  const until = performance.now() + Number(values.minutes) * 60_000;
  const goOn = (done: number) => {
    if (done % 50 === 0) console.log(`${done} rounds`);
    return performance.now() < until;
  };
  const result = await race({
    databaseUrl: url,
    openReplica: openApart,
    replicas,
    rounds,
    callsPerReplica,
    goOn,
  });
  const lines = report(result);
  console.log(lines.join("\n"));
  for (const failure of result.failures.slice(0, 20)) console.log(failure);
  if (values.write) writeSection(new URL("../proofs.md", import.meta.url), "Race for a refresh", lines);
  process.exitCode = isShown(result) ? 0 : 1;
} finally {
  await postgres.stop();
}

function isShown(result: RaceResult): boolean {
  const { failures, redemptions, oddRounds, isReused, refusedCalls } = result;
  const isOnce = redemptions === result.rounds && oddRounds === 0 && !isReused;
  return isOnce && failures.length === 0 && refusedCalls === 0;
}

function report(result: RaceResult): string[] {
  const { roundMs, calls, redemptions, oddRounds, isReused, failures, refusedCalls } = result;
  const at = (share: number) => Math.round(roundMs[Math.floor(share * (roundMs.length - 1))] ?? 0);
  const number = (value: number) => value.toLocaleString("en");
  return [
    `\`node bench/proofs/race.ts --write\` · ${place()} · ${Math.round((performance.now() - begun) / 1000)} s`,
    "",
    `${replicas} replicas in processes of their own on one Postgres, ${callsPerReplica} parallel calls on each at expiry.`,
    "",
    "| | |",
    "|---|---|",
    `| rounds | ${number(result.rounds)} |`,
    `| calls | ${number(calls)} |`,
    `| calls that failed | ${failures.length} |`,
    `| redemptions at the provider | ${number(redemptions)} |`,
    `| rounds with more or fewer than one | ${oddRounds} |`,
    `| reuse that the provider detected | ${isReused ? "yes" : "none"} |`,
    `| calls that reached the upstream with a dead token | ${refusedCalls} |`,
    `| a round, first call to last answer (median / 99 % / longest) | ${at(0.5)} / ${at(0.99)} / ${at(1)} ms |`,
  ];
}
