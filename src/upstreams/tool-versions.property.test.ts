import fc from "fast-check";
import { expect, it } from "vitest";
import {
  approve,
  type Circumstances,
  isDecidable,
  isHeld,
  listed,
  news,
  type Offered,
  reject,
  settle,
  type ToolVersion,
  takeReading,
} from "./tool-versions.ts";

/** Definition `v` of tool `t`; its hash says both. */
const offered = fc
  .tuple(fc.constantFrom("a", "b", "c"), fc.integer({ min: 0, max: 3 }))
  .map(([name, v]): Offered => ({ name, hash: `${name}${v}`, json: "{}" }));
const reading = fc.array(offered, { maxLength: 5 });

type Step = { read: Offered[] } | { approve: number } | { reject: number };
const steps = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: reading.map((read): Step => ({ read })) },
    { weight: 1, arbitrary: fc.nat(11).map((at): Step => ({ approve: at })) },
    { weight: 1, arbitrary: fc.nat(11).map((at): Step => ({ reject: at })) },
  ),
  { minLength: 1, maxLength: 20 },
);

/** Any upstream: its policy, whether people differ, and which names it has in `tools_to_execute`. */
const upstream = fc.record({
  policy: fc.constantFrom("keep" as const, "withhold" as const, "accept" as const),
  perUser: fc.boolean(),
  named: fc.subarray(["b", "c"]),
});

interface State {
  versions: ToolVersion[];
  isFirst: boolean;
  now: number;
  /** Hashes that an administrator, the first reading or the policy let through. */
  allowed: Set<string>;
}

function take(state: State, step: Step, circumstances: Circumstances): State {
  const { versions, isFirst } = state;
  const now = state.now + 1;
  if ("read" in step) {
    const after = settle(takeReading(versions, step.read, now), circumstances, { now, isFirst });
    return { ...state, versions: after, isFirst: isFirst && step.read.length === 0, now };
  }
  const decidable = versions.filter((version) => isDecidable(version, circumstances.perUser));
  const at = "approve" in step ? step.approve : step.reject;
  const chosen = decidable[at % Math.max(1, decidable.length)];
  if (!chosen) return { ...state, now };
  const decision = { by: "admin_token", at: now };
  if ("reject" in step) return { ...state, versions: reject(versions, [chosen.hash], decision), now };
  const after = approve(versions, [chosen.hash], decision, circumstances);
  return { ...state, versions: after, now, allowed: new Set([...state.allowed, chosen.hash]) };
}

const start: State = { versions: [], isFirst: true, now: 0, allowed: new Set() };

function circumstancesOf(of: { policy: Circumstances["policy"]; perUser: boolean; named: string[] }) {
  return { policy: of.policy, perUser: of.perUser, isNamed: (tool: string) => of.named.includes(tool) };
}

/** Calls `check` with each state and the one before it. */
function walk(check: (before: State, after: State, circumstances: Circumstances, step: Step) => void): void {
  fc.assert(
    fc.property(upstream, steps, (of, all) => {
      let state = start;
      for (const step of all) {
        const after = take(state, step, circumstancesOf(of));
        check(state, after, circumstancesOf(of), step);
        state = after;
      }
    }),
    { numRuns: 400 },
  );
}

it("clients never see a definition that nobody let through", () => {
  walk((before, after, circumstances, step) => {
    const status = new Map(after.versions.map((version) => [version.hash, version]));
    for (const hash of listed(after.versions, circumstances)) {
      expect(status.get(hash)?.status).toBe("approved");
      const by = status.get(hash)!.decidedBy;
      if (by === "admin_token") expect(after.allowed.has(hash)).toBe(true);
      else if (by === "policy") expect(circumstances.policy).toBe("accept");
      else if (by === "tools_to_execute") expect(circumstances.isNamed(status.get(hash)!.name)).toBe(true);
      else expect(by).toBe("first_reading");
    }
    if (!("read" in step) || before.isFirst || circumstances.policy === "accept") return;
    // A reading lets nothing through but a new tool that is named.
    for (const { tool } of news(before.versions, after.versions, circumstances.perUser).approved) {
      expect(circumstances.isNamed(tool)).toBe(true);
      expect(before.versions.every(({ name, status }) => name !== tool || status === "held")).toBe(true);
    }
  });
});

it("the same reading again changes nothing and is told to nobody", () => {
  walk((_before, after, circumstances, step) => {
    if (!("read" in step)) return;
    const again = take(after, step, circumstances);
    expect(listed(again.versions, circumstances)).toEqual(listed(after.versions, circumstances));
    expect(news(after.versions, again.versions, circumstances.perUser)).toEqual({ held: [], approved: [] });
  });
});

it("the order of a reading is no matter", () => {
  walk((before, after, circumstances, step) => {
    if (!("read" in step)) return;
    const turned = take(before, { read: step.read.toReversed() }, circumstances);
    const held = (versions: readonly ToolVersion[]) =>
      versions
        .filter((version) => isHeld(version, circumstances.perUser))
        .map(({ hash }) => hash)
        .toSorted();
    expect(held(turned.versions)).toEqual(held(after.versions));
    expect(listed(turned.versions, circumstances)).toEqual(listed(after.versions, circumstances));
  });
});

it("MC-21 what an approved tool is called with changes by a decision only; withheld is what differs", () => {
  walk((before, after, circumstances, step) => {
    if (!("read" in step) || before.isFirst || circumstances.policy === "accept") return;
    const was = new Map(listed(before.versions, circumstances).map((hash) => [hash[0], hash]));
    for (const hash of listed(after.versions, circumstances)) {
      const one = was.get(hash[0]);
      const several = before.versions.filter(({ name, status }) => name === hash[0] && status === "approved");
      // Several that were approved side by side may take turns; a single one stands.
      if (one !== undefined && several.length === 1) expect(hash).toBe(one);
    }
    if (circumstances.policy !== "withhold") return;
    const unapproved = new Set(
      after.versions
        .filter(({ status, offered }) => status !== "approved" && offered > 0)
        .map(({ name }) => name),
    );
    for (const hash of listed(after.versions, circumstances)) expect(unapproved.has(hash[0]!)).toBe(false);
  });
});
