import { expect, it } from "vitest";
import { Clock } from "./clock.ts";

it("AV-11 goes on from the time it follows, by the monotonic clock", () => {
  const clock = new Clock();
  expect(clock.now()).toBeUndefined();
  clock.follow(1_000_000, performance.now() - 500);
  const first = clock.now()!.getTime();
  expect(first).toBeGreaterThanOrEqual(1_000_500);
  expect(first).toBeLessThan(1_030_000);
  clock.follow(2_000_000, performance.now());
  expect(clock.now()!.getTime()).toBeGreaterThanOrEqual(2_000_000);
});
