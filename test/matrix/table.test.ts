import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { clients } from "./clients.ts";
import { features, outcomeOf } from "./features.ts";
import { revisions } from "./revisions.ts";
import { reachTable } from "./table.ts";
import { upstreamKinds } from "./upstreams.ts";

test("the guide says what the matrix runs", () => {
  const guide = readFileSync(join(import.meta.dirname, "../../docs/guide/clients.md"), "utf8");
  expect(guide).toContain(`\n\n${reachTable()}\n\n`);
});

test("every revision is on both sides, with both SDKs, and every cell works or says why it cannot", () => {
  expect(new Set(clients.map(({ revision }) => revision))).toEqual(new Set(revisions));
  expect(new Set(upstreamKinds.map(({ revision }) => revision))).toEqual(new Set(revisions));
  const outcomes = features.flatMap((feature) =>
    clients.flatMap((client) => upstreamKinds.map((upstream) => outcomeOf(feature, client, upstream))),
  );
  const reasons = outcomes.flatMap((outcome) => (outcome.is === "works" ? [] : [outcome.reason]));
  expect(
    reasons.filter(
      (reason) =>
        !/ (?:of 20\d\d-\d\d-\d\d|over stdio) has it: .+|server-everything has nothing/.test(reason),
    ),
  ).toEqual([]);
  expect(outcomes.length - reasons.length).toBeGreaterThan(reasons.length);
});
