/**
 * The crash proof in full. First a death at every fault point, on SQLite and on Postgres, and at every statement of an upgrade;
 * then people who live with gateways that are killed again and again, half of the times at some moment and else at a fault point,
 * each on a database of its own, with a provider that takes a replaced refresh token once more or one that ends its family.
 *
 *   node bench/proofs/crash.ts [--kills 1000] [--seed 1] [--lanes 4] [--minutes 60] [--no-points] [--write]
 */
import { parseArgs } from "node:util";
import { bundle } from "../../test/crash/bundle.ts";
import { allDeaths, dieAll } from "../../test/crash/deaths.ts";
import type { Kind } from "../../test/crash/house.ts";
import { allMigrationDeaths, dieMigrating } from "../../test/crash/migrations.ts";
import type { Shape } from "../../test/crash/provider.ts";
import { dieRotating, rotationDeaths } from "../../test/crash/rotations.ts";
import { type StormResult, storm } from "../../test/crash/storm.ts";
import { startPostgres } from "../../test/postgres/start-postgres.ts";
import { place, writeSection } from "./results.ts";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" },
    lanes: { type: "string", default: "4" },
    minutes: { type: "string", default: "60" },
    points: { type: "boolean", default: true },
    write: { type: "boolean", default: false },
  },
  allowNegative: true,
});
const [kills, seed, lanes] = [Number(values.kills), Number(values.seed), Number(values.lanes)];
const kinds: readonly Kind[] = ["sqlite", "postgres"];
const shapes: readonly Shape[] = ["strict", "tolerant"];

const program = await bundle(new URL("../../test/crash/gateway-child.ts", import.meta.url).pathname);
const postgres = await startPostgres();
const begun = performance.now();
try {
  const storming = Promise.all(Array.from({ length: lanes }, (_, lane) => oneStorm(lane)));
  const points = values.points ? await everyPoint() : { deaths: 0, wrong: [] };
  const storms = await storming;
  const wrong = [...points.wrong, ...storms.flatMap((one) => one.wrong)];
  const lines = report(points.deaths, storms, wrong);
  console.log(lines.join("\n"));
  for (const sentence of wrong) console.log(sentence);
  if (values.write) writeSection(new URL("../proofs.md", import.meta.url), "Crashes", lines);
  process.exitCode = wrong.length === 0 ? 0 : 1;
} finally {
  await postgres.stop();
  program.remove();
}

async function everyPoint(): Promise<{ deaths: number; wrong: string[] }> {
  let deaths = 0;
  const wrong = await Promise.all(
    kinds.map(async (kind) => {
      const options = { program, kind, postgres: postgres.url };
      const upgrades = await allMigrationDeaths(options);
      deaths += upgrades.length + allDeaths().length + rotationDeaths.length;
      const found = [
        ...(await dieAll(options, allDeaths())),
        ...(await dieMigrating(options, upgrades)),
        ...(await dieRotating(options, rotationDeaths)),
      ];
      return found.map((sentence) => `${kind}: ${sentence}`);
    }),
  );
  console.log(`${deaths} deaths at fault points`);
  return { deaths, wrong: wrong.flat() };
}

async function oneStorm(lane: number): Promise<StormResult> {
  const kind = kinds[lane % 2]!;
  const shape = shapes[Math.floor(lane / 2) % 2]!;
  const share = Math.ceil(kills / lanes);
  const onKill = (done: number) => {
    if (done % 25 === 0) console.log(`lane ${lane} (${kind}, ${shape}): ${done} of ${share}`);
  };
  return storm({
    program,
    kind,
    shape,
    kills: share,
    seed: seed + lane,
    people: 3,
    withinMs: Number(values.minutes) * 60_000,
    postgres: postgres.url,
    onKill,
  });
}

function report(deaths: number, storms: readonly StormResult[], wrong: readonly string[]): string[] {
  const total = (of: (one: StormResult) => number) => storms.reduce((sum, one) => sum + of(one), 0);
  const atPoints = (one: StormResult) => Object.values(one.atPoints).reduce((sum, count) => sum + count, 0);
  const done = (name: string) => total((one) => one.done[name] ?? 0);
  const isStrict = (_: StormResult, lane: number) => shapes[Math.floor(lane / 2) % 2] === "strict";
  const strict = storms.filter(isStrict).reduce((sum, { prompts }) => sum + prompts, 0);
  const seconds = Math.round((performance.now() - begun) / 1000);
  return [
    `\`node bench/proofs/crash.ts --kills ${kills} --seed ${seed}\` · ${place()} · ${seconds} s`,
    "",
    "| what | figure |",
    "|---|---|",
    `| deaths at a fault point, each looked at and gone on from | ${deaths} |`,
    `| kill -9 under load (${lanes} gateways, 2 databases, 2 kinds of provider) | ${total((one) => one.kills)} |`,
    `| of these at a fault point | ${total(atPoints)} |`,
    `| consents submitted, codes redeemed | ${done("submit")}, ${done("code")} |`,
    `| calls, renewals by clients | ${done("call")}, ${done("renew")} |`,
    `| revocations of connections, of grants | ${done("revoke")}, ${done("end")} |`,
    `| requests without an answer, all repeated | ${done("unanswered")} |`,
    `| codes and tokens whose answer was lost after the commit (asked for anew, one click) | ${done("submit answer lost") + done("code answer lost")} |`,
    `| consents that ran out of their fifteen minutes (each death moves the clock by half a minute) and were begun anew | ${done("consent expired")} |`,
    `| visits to a provider that had to be made again | ${done("connect again")} |`,
    `| consents at providers whose tokens were lost on the way or replaced | ${total((one) => one.orphans)} |`,
    `| sign-ins asked for: the provider takes a replaced token once more | ${total((one) => one.prompts) - strict} |`,
    `| sign-ins asked for: it ends the family (one for each family that it ended) | ${strict} |`,
    `| consents half done, credentials lost, rows that open elsewhere, anything else wrong | ${wrong.length} |`,
  ];
}
