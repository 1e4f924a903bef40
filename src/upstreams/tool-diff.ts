import { canonicalJson, isRawNumber, parseStrictJson } from "../base/index.ts";
import { unifiedDiff } from "./text-diff.ts";
import { ascii, looks, visible, visiblyDifferent } from "./visible-text.ts";

/** A member of a definition that differs, as JSON texts in which nothing hides; absent where it was not there. */
export interface FieldChange {
  field: string;
  before?: string;
  after?: string;
}

export interface ToolDiff {
  fields: FieldChange[];
  /** A unified diff of the two definitions as indented JSON. */
  diff: string;
  /** Whether something was too long to be shown whole. */
  truncated: boolean;
}

const LONGEST_FIELD = 20_000;
const LONGEST_DIFF = 40_000;
const noLimits = { maxBytes: Infinity, maxDepth: Infinity, maxKeys: Infinity };

/** What a definition changes, for the eyes of an administrator. `before`: absent for a tool that was not there. JSON texts. */
export function diffTools(before: string | undefined, after: string): ToolDiff {
  const old = before === undefined ? {} : read(before);
  const now = read(after);
  const names = [...new Set([...Object.keys(old), ...Object.keys(now)])].sort();
  const all = names
    .filter((name) => !(name in old && name in now && canonicalJson(old[name]) === canonicalJson(now[name])))
    .map((name) => fieldChange(name, old, now));
  const lines = shownLines(unifiedDiff(before === undefined ? "" : pretty(old), pretty(now)));
  const diff = ["--- approved", "+++ offered", ...lines].join("\n");
  const isLong = (text = "") => text.length > LONGEST_FIELD;
  return {
    fields: all.map((change) => ({
      field: change.field,
      ...(change.before === undefined ? {} : { before: change.before.slice(0, LONGEST_FIELD) }),
      ...(change.after === undefined ? {} : { after: change.after.slice(0, LONGEST_FIELD) }),
    })),
    diff: diff.slice(0, LONGEST_DIFF),
    truncated:
      diff.length > LONGEST_DIFF || all.some((change) => isLong(change.before) || isLong(change.after)),
  };
}

function fieldChange(name: string, old: Record<string, unknown>, now: Record<string, unknown>): FieldChange {
  const field = visible(name);
  if (!(name in old)) return { field, after: visible(pretty(now[name])) };
  if (!(name in now)) return { field, before: visible(pretty(old[name])) };
  const [before, after] = visiblyDifferent(pretty(old[name]), pretty(now[name]));
  return { field, before, after };
}

/** Lines that went and lines that came must not look the same. */
function shownLines(lines: readonly string[]): string[] {
  const sides = (sign: string) => lines.filter((line) => line.startsWith(sign)).map((line) => line.slice(1));
  const gone = new Set(sides("-").map((text) => looks(visible(text))));
  const isDeceptive = sides("+").some((text) => gone.has(looks(visible(text))));
  return lines.map(isDeceptive ? ascii : visible);
}

function read(json: string): Record<string, unknown> {
  return parseStrictJson(json, noLimits) as Record<string, unknown>;
}

/** Indented, members by name: their order is no change. */
function pretty(value: unknown): string {
  return JSON.stringify(sorted(value), null, 2);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null || isRawNumber(value)) return value;
  const object = value as Record<string, unknown>;
  return Object.fromEntries(
    Object.keys(object)
      .sort()
      .map((name) => [name, sorted(object[name])]),
  );
}
