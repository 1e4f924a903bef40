import type { JsonObject } from "../base/index.ts";
import type { WorkloadRule } from "./machine-config.ts";

export type Matched = { rule: WorkloadRule } | { nearest?: WorkloadRule; claim?: string };

/**
 * The first rule of the file that is for this issuer and whose claims all fit, or the one that came nearest, with the claim
 * that did not.
 */
export function matchRule(rules: readonly WorkloadRule[], claims: JsonObject): Matched {
  let nearest: WorkloadRule | undefined;
  let claim: string | undefined;
  let most = -1;
  for (const rule of rules) {
    if (rule.trusted.issuer !== claims.iss) continue;
    const wanted = Object.entries(rule.claims);
    const missed = wanted.filter(([name, patterns]) => !fits(own(claims, name), patterns));
    if (missed.length === 0) return { rule };
    const fitting = wanted.length - missed.length;
    if (fitting <= most) continue;
    most = fitting;
    nearest = rule;
    claim = missed[0]![0];
  }
  return { nearest, claim };
}

export function own(claims: JsonObject, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}

/** Exact, or up to a `*` at the end. A list or an object is no value to compare. */
function fits(value: unknown, patterns: readonly string[]): boolean {
  if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean") return false;
  const text = String(value);
  return patterns.some((wanted) =>
    wanted.endsWith("*") ? text.startsWith(wanted.slice(0, -1)) : text === wanted,
  );
}
