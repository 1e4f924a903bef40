import { expect, test } from "vitest";
import { journeys } from "../journeys/steps/stage.ts";
import { rounds } from "./growth.ts";

// In full, 2,000 of each kind (each sweep has its test on both databases): node bench/proofs/growth.ts
journeys(
  "traffic that leaves nothing behind",
  (stage) => {
    test("leaves nothing behind in any table, and the file takes no more room the second time (AV-19, AV-25)", async () => {
      const home = await stage.household();
      const { gateway } = home;
      const house = {
        ...home,
        baseUrl: gateway.baseUrl,
        databaseUrl: gateway.options.databaseUrl!,
        advance: (ms: number) => stage.advance(ms),
        runJobs: () => gateway.runJobs(),
      };
      const [before, first, second] = await rounds(house, 5);
      expect(first.rows).toEqual(before.rows);
      expect(second.rows).toEqual(before.rows);
      // Where a row lands differs; that there is room does not.
      if (first.pages !== undefined) expect(second.pages).toBeLessThan(first.pages * 1.1);
    }, 120_000);
  },
  ["sqlite"],
);
