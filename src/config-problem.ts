import type { ZodType } from "zod";
import type { $ZodIssue } from "zod/v4/core";

/** The configuration is wrong: the process ends with exit code 2 and this sentence. */
export class BadConfiguration extends Error {
  override name = "BadConfiguration";
}

/** One sentence for the first fault: where it is, what is wrong, and for an unknown key the nearest known one. */
export function describeIssue(issue: $ZodIssue, schema: ZodType, source: string): string {
  const path = issue.path.map(String).join(".");
  if (issue.code !== "unrecognized_keys") return `${source}: ${path || "the top level"}: ${issue.message}.`;
  const key = issue.keys[0]!;
  const known = knownKeys(schema, issue.path);
  const near = nearest(key, known);
  const full = path ? `${path}.${key}` : key;
  return `${source}: ${full} is not a known setting.${near ? ` Did you mean ${near}?` : ` Known here: ${known.join(", ")}.`}`;
}

/** The known name closest to `word`, when it is close enough to be a slip. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const scored = known.map((name) => ({
    name,
    distance: editDistance(word.toLowerCase(), name.toLowerCase()),
  }));
  scored.sort((a, b) => a.distance - b.distance);
  const best = scored[0];
  return best && best.distance <= Math.max(2, Math.floor(best.name.length / 2)) ? best.name : undefined;
}

interface Introspected {
  def: {
    type: string;
    innerType?: ZodType;
    element?: ZodType;
    in?: ZodType;
    shape?: Record<string, ZodType>;
  };
}

function knownKeys(schema: ZodType, path: readonly PropertyKey[]): string[] {
  let at: ZodType | undefined = schema;
  for (const step of path) {
    const def = unwrap(at);
    at = typeof step === "number" ? def?.element : def?.shape?.[String(step)];
  }
  return Object.keys(unwrap(at)?.shape ?? {}).filter((key) => key !== "$schema");
}

function unwrap(schema: ZodType | undefined): Introspected["def"] | undefined {
  let def = (schema as unknown as Introspected | undefined)?.def;
  while (def?.innerType ?? def?.in) def = ((def!.innerType ?? def!.in) as unknown as Introspected).def;
  return def;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}
