import { expect, it } from "vitest";
import { liveThrough } from "./days.ts";
import type { Shape } from "./service.ts";

const shapes: Shape[] = [
  { name: "keeps", rotation: "keeps", life: 300 },
  { name: "tolerates", rotation: "tolerates", life: 300 },
  { name: "ends", rotation: "ends", life: 300 },
  { name: "rests", rotation: "tolerates", life: 3600, restDays: 8 },
];

it("AV-11 thirty days of lost answers, failures, restarts and clocks that jump: nobody signs in without need", async () => {
  const weather = { lost: 0.02, failing: 0.02, early: 0.03 };
  const options = { seed: 5, days: 30, persons: 2, shapes, visitsADay: 3, restarts: 8, lostByClients: 0.2 };
  const result = await liveThrough({ ...options, weather });
  const told = JSON.stringify(result);
  expect(Object.values(result.needless), told).toEqual(Object.values(result.needless).map(() => 0));
  for (const fault of ["lost", "failed", "early"] as const) {
    const sum = Object.values(result.tallies).reduce((all, tally) => all + tally[fault], 0);
    expect(sum, `${fault}: ${told}`).toBeGreaterThan(0);
  }
  // The proof is worth something only where somebody had to be asked.
  expect(Object.keys(result.prompts), told).not.toEqual([]);
  expect(result.gatewayLostAnswers, told).toBeGreaterThan(0);
  expect(result.dropped).toBe(4);
}, 180_000);
