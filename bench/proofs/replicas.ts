/**
 * Three replicas on one Postgres, one of them killed every 20 seconds for ten minutes, under 200 calls a second, consents and
 * refreshes. Writes its section of bench/proofs.md.
 *
 *   node bench/proofs/replicas.ts [minutes] [calls per second]
 */
import { freshPostgresDatabase } from "../../test/postgres/database.ts";
import { startPostgres } from "../../test/postgres/start-postgres.ts";
import { type ReplicaProofResult, runReplicaProof } from "../../test/replica-proof/proof.ts";
import { place, writeSection } from "./results.ts";

const KILL_EVERY_S = 20;
const minutes = Number(process.argv[2] ?? 10);
const callsPerSecond = Number(process.argv[3] ?? 200);

const postgres = await startPostgres();
try {
  const { url } = await freshPostgresDatabase(postgres.url);
  const result = await runReplicaProof({
    databaseUrl: url,
    kills: (minutes * 60) / KILL_EVERY_S,
    killEverySeconds: KILL_EVERY_S,
    callsPerSecond,
    persons: 20,
    consentsAtOnce: 2,
    consentPauseMs: 1_000,
    tokenLife: 90,
  });
  report(result);
} finally {
  await postgres.stop();
}

function report(result: ReplicaProofResult): void {
  const sorted = result.durations.toSorted((a, b) => a - b);
  const at = (share: number) => `${(sorted[Math.floor(sorted.length * share)] ?? 0).toFixed(1)} ms`;
  const count = (value: number) => value.toLocaleString("en");
  const restarts = result.restartMs.toSorted((a, b) => a - b).map((ms) => (ms / 1000).toFixed(1));
  const faults = { ...result, durations: undefined, restartMs: undefined };
  const isProved = [result.failed, result.prompts, result.failedConsents, result.errors].every(
    (list) => list.length === 0,
  );
  const rows = [
    [
      "replicas killed with SIGKILL and started again",
      `${result.kills} in ${(result.seconds / 60).toFixed(1)} minutes`,
    ],
    [
      "from the start of a process until it listens",
      `${restarts[0]} to ${restarts.at(-1)} s, median ${restarts[restarts.length >> 1]} s`,
    ],
    ["calls", `${count(result.calls)}, ${(result.calls / result.seconds).toFixed(0)} a second`],
    [
      "calls that failed before their one retry",
      `${count(result.retried)} (${((100 * result.retried) / result.calls).toFixed(3)} %)`,
    ],
    ["calls that failed after it", count(result.failed.length)],
    ["time of a call, retry and pause included: p50, p99, p99.9", `${at(0.5)}, ${at(0.99)}, ${at(0.999)}`],
    ["refreshes at providers that rotate", count(result.refreshes)],
    ["credentials lost", count(result.prompts.length)],
    ["tokens of the gateway's own renewed by clients", count(result.renewals)],
    ["consents", count(result.consents)],
    ["steps of consents that were loaded again", count(result.reloads)],
    [
      "consents begun again, because the answer with the code or the tokens was lost",
      count(result.begunAgain),
    ],
    ["consents that failed", count(result.failedConsents.length)],
  ];
  const lines = [
    `\`node bench/proofs/replicas.ts\` · ${place()}`,
    "",
    "Three gateway processes on one Postgres behind a TCP balancer that passes over who does not take a connection and repeats nothing; one",
    `of them is killed every ${KILL_EVERY_S} seconds. The load, the balancer and the providers ran on the same machine.`,
    "",
    "| | |",
    "|---|---|",
    ...rows.map((cells) => `| ${cells.join(" | ")} |`),
    ...(isProved ? [] : ["", `**Not proved**: ${JSON.stringify(faults)}`]),
  ];
  console.log(lines.join("\n"));
  writeSection(
    new URL("../proofs.md", import.meta.url),
    "Three replicas, one killed every 20 seconds",
    lines,
  );
  process.exitCode = isProved ? 0 : 1;
}
