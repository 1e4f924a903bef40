import { describe, expect, it } from "vitest";
import { judge } from "./judge.ts";
import { report } from "./report.ts";
import { runAuthorization } from "./run-authorization.ts";
import { type Outcome, revisions, runClient, runServer } from "./run-suite.ts";

const RUN_MS = 120_000;
const nothing = { unexpected: [], stale: [] };

describe.each(revisions)("the official conformance suite, %s", (revision) => {
  it.each(["modern", "legacy"] as const)(
    "server scenarios through the gateway, with authentication on, in front of a %s upstream",
    async (upstream) => expect(judge(await runServer(revision, upstream, RUN_MS))).toEqual(nothing),
    RUN_MS + 30_000,
  );

  it(
    "client scenarios against the upstream side",
    async () => expect(judge(await runClient(revision, RUN_MS))).toEqual(nothing),
    RUN_MS + 30_000,
  );
});

it(
  "the official conformance suite: authorization scenarios against our authorization server",
  async () => expect(judge(await runAuthorization(RUN_MS))).toEqual(nothing),
  RUN_MS + 30_000,
);

describe("what a run comes to", () => {
  const passed: Outcome = { leg: "server", revision: "r", scenario: "a", passed: 1, failures: [] };
  const failed: Outcome = { ...passed, scenario: "b", failures: [{ id: "x", message: "why" }] };
  const known = { leg: "server", scenario: "b", reason: "because" } as const;

  it("fails with a failure that nobody expected, and with an expectation that passes", () => {
    expect(judge([passed, failed], [])).toMatchObject({ unexpected: ["server r b: x (why)"], stale: [] });
    expect(judge([passed, failed], [known])).toEqual(nothing);
    expect(judge([passed], [{ ...known, scenario: "a" }]).stale).toHaveLength(1);
    expect(judge([passed], [known])).toEqual(nothing);
    expect(judge([failed], [{ ...known, revision: "other" }]).unexpected).toHaveLength(1);
  });

  it("is written down with every failure and its reason", () => {
    const page = report(
      "1.2.3",
      [passed, failed, { ...passed, scenario: "c", notScored: "pending" }],
      [known],
    );
    expect(page).toContain("1 of 2 scenarios pass; of 1 that are not scored, 1.");
    expect(page).toContain("| `b` | fails, expected | 1 | 1 |");
    expect(page).toContain("| server | `b` | all | because |");
  });
});
