import { expect, test } from "vitest";
import { fuzzFromClients } from "./from-clients.ts";
import { fuzzFromSseUpstream } from "./from-sse-upstream.ts";
import { fuzzFromUpstream } from "./from-upstreams.ts";
import { brief } from "./run-options.ts";

// Longer, and from another seed: node test/fuzz/main.ts --runs 20000 --seed 1

const MINUTE = 60_000;

test(
  "MC-07 MC-08 MC-09 MC-10 MC-16 whatever a client sends is answered, and answered about nobody else",
  async () => {
    await expect(fuzzFromClients(brief(2_000))).resolves.toBeUndefined();
  },
  MINUTE,
);

test.each(["modern", "legacy"] as const)(
  "MC-16 MC-25 whatever an upstream answers, %s, its caller gets one answer and others theirs",
  async (era) => {
    await expect(fuzzFromUpstream(era, brief(500))).resolves.toBeUndefined();
  },
  MINUTE,
);

test(
  "MC-16 MC-25 whatever stands on the stream of an upstream of 2024-11-05, each call gets its own answer",
  async () => {
    await expect(fuzzFromSseUpstream(brief(300))).resolves.toBeUndefined();
  },
  MINUTE,
);
