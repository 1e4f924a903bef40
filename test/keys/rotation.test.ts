import { afterAll, beforeAll, expect, inject, it } from "vitest";
import type { FaultPoint } from "../../src/base/index.ts";
import { type Bundle, bundle } from "../crash/bundle.ts";
import type {} from "../postgres/global-setup.ts";
import { RotationStage } from "./rotation.ts";

let programs: { gateway: Bundle; rotate: Bundle };
beforeAll(async () => {
  const gateway = await bundle(`${import.meta.dirname}/../crash/gateway-child.ts`);
  programs = { gateway, rotate: await bundle(`${import.meta.dirname}/rotate-child.ts`) };
});
afterAll(() => {
  programs.gateway.remove();
  programs.rotate.remove();
});

/** Replicas look every five seconds for what seals now. */
const SETTLE_MS = 6_000;
/** Of about 12 batches. */
const deaths: Record<"sqlite" | "postgres", [FaultPoint, number][]> = {
  sqlite: [
    ["keys.3.activated", 1],
    ["keys.4.batch_resealed", 2],
    ["keys.4.batch_resealed", 5],
    ["keys.5.pass_done", 1],
  ],
  postgres: [["keys.4.batch_resealed", 5]],
};

it.each(["sqlite", "postgres"] as const)(
  "ST-07 on %s: killed it goes on, two at once do no harm; no call fails, no refresh is lost, every value opens",
  async (kind) => {
    const options = { programs, kind, credentials: 2_000, callers: 10, spreadMs: 5_000 };
    const stage = await RotationStage.open({ ...options, postgres: inject("postgresUrl") });
    try {
      const load = stage.load(2);
      for (const [at, nth] of deaths[kind])
        expect(await stage.rotate(200, { at, nth }), at).toMatchObject({ killed: true });
      const both = await Promise.all([stage.rotate(SETTLE_MS), stage.rotate(SETTLE_MS)]);
      expect(both.map(({ rotated }) => rotated?.unreadable)).toEqual([0, 0]);
      const calls = await load.stop();
      expect(calls.failed).toEqual([]);
      expect(calls.made).toBeGreaterThan(20);
      expect(stage.refreshes).toBeGreaterThan(0);
      // Such a provider ends what presents a refresh token twice.
      expect(stage.endedFamilies).toEqual([]);
      const { active, unreadable } = await stage.state();
      expect(unreadable).toEqual([]);
      expect(active).toBeGreaterThan(2_000);
    } finally {
      await stage.close();
    }
  },
  180_000,
);
