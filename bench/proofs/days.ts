/**
 * Thirty simulated days, in full: twenty people, five services of every kind, tokens of every life. Writes its section of
 * bench/proofs.md.
 *
 *   node bench/proofs/days.ts [persons] [days]
 */
import { type DaysResult, liveThrough } from "../../test/days/days.ts";
import type { Shape } from "../../test/days/service.ts";
import { place, writeSection } from "./results.ts";

const persons = Number(process.argv[2] ?? 20);
const days = Number(process.argv[3] ?? 30);
const weather = { lost: 0.01, failing: 0.01, early: 0.005 };

const shapes: Shape[] = [
  { name: "keeps", rotation: "keeps", life: 300 },
  { name: "tolerates", rotation: "tolerates", life: 300 },
  { name: "tolerates_hour", rotation: "tolerates", life: 3600 },
  { name: "ends", rotation: "ends", life: 300 },
  { name: "rests", rotation: "tolerates", life: 3600, restDays: 8 },
];

const words: Record<string, string> = {
  keeps: "one refresh token for good, 5 minutes",
  tolerates: "rotation, the last one works again until its successor was used, 5 minutes",
  tolerates_hour: "the same, an hour",
  ends: "rotation, a used one ends everything, 5 minutes",
  rests: "the same as the second, an hour, dead after 8 days without use, called every eleventh day",
};

function table({ tallies, prompts, needless }: DaysResult): string[] {
  const rows = shapes.map(({ name }) => {
    const { refreshes, lost, failed, early, lostForGood } = tallies[name]!;
    const sum = (of: Record<string, number>) =>
      Object.entries(of).reduce(
        (all, [whose, count]) => (whose.endsWith(` at ${name}`) ? all + count : all),
        0,
      );
    const mustAsk = Object.entries(lostForGood).reduce(
      (all, [who, n]) => (who === "operator" ? all : all + n),
      0,
    );
    const cells = [words[name], refreshes, lost, failed, early, mustAsk, sum(prompts), sum(needless)];
    return `| ${cells.join(" | ")} |`;
  });
  return [
    "| provider, life of its access tokens | refreshes | answers lost | failures | refused early | lost for good | people asked | without need |",
    "|---|---|---|---|---|---|---|---|",
    ...rows,
  ];
}

const begun = performance.now();
const options = {
  seed: 20261123,
  days,
  persons,
  shapes,
  weather,
  visitsADay: 4,
  restarts: 30,
  lostByClients: 0.05,
};
const result = await liveThrough(options);
const tooMany = Object.entries(result.needless).filter(([, count]) => count !== 0);
const lines = [
  `\`node bench/proofs/days.ts\` · ${place()} · ${Math.round((performance.now() - begun) / 1000)} s`,
  "",
  `${days} days on a simulated clock: ${persons} people, ${shapes.length} services each, ${result.calls.toLocaleString("en")} calls by day and by night and none on`,
  `weekends; 1 % of the providers' answers cut off after they had taken effect, 1 % failures, 0.5 % of calls refused before their time, the`,
  `gateway's clock off by up to a minute in either direction, ${result.restarts} restarts, ${result.dropped} of them without notice.`,
  "",
  ...table(result),
  "",
  `"Lost for good" is an answer after which nobody holds a refresh token that works; who had it must be asked, once. ${result.postponed} calls were`,
  `answered "not now" and worked when the client tried again. Clients renewed their tokens of the gateway's ${result.gatewayRefreshes.toLocaleString("en")} times, with`,
  `${result.gatewayLostAnswers} answers lost on the way: ${result.gatewaySignIns - persons} had to sign in again.`,
  ...(tooMany.length > 0 ? ["", `**Not proved**: ${JSON.stringify(Object.fromEntries(tooMany))}`] : []),
];
console.log(lines.join("\n"));
writeSection(new URL("../proofs.md", import.meta.url), "Thirty days without a needless sign-in", lines);
process.exit(tooMany.length > 0 ? 1 : 0);
