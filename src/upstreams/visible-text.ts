import type { ToolChange } from "./tool-versions.ts";

/** What a reader would not see, or would see in another place: controls, formats, fillers, odd spaces, what means nothing yet. */
const HIDDEN =
  /[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/gu;

const WORD = /[\p{L}\p{M}]+/gu;
const LATIN = /\p{Script=Latin}/u;
/** Letters of these are taken for Latin ones. */
const LOOKALIKE =
  /[\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Armenian}\p{Script=Cherokee}\p{Script=Coptic}]/gu;
const NOT_ASCII = /[^\n\x20-\x7e]/gu;

const MOST_NAMES = 100;
const LONGEST_NAME = 128;

/**
 * `text` with everything that hides or disguises itself written as `\uXXXX`: controls, bidirectional marks, zero-width and
 * tag characters, odd spaces, and letters of another alphabet in a Latin word. Line feeds stay. In JSON it is the same JSON.
 */
export function visible(text: string): string {
  return text
    .replaceAll(HIDDEN, (found) => (found === "\n" ? found : escaped(found)))
    .replaceAll(WORD, (word) => (LATIN.test(word) ? word.replaceAll(LOOKALIKE, escaped) : word));
}

/** Two texts that are to be compared by eye; what would still look the same is written in ASCII. */
export function visiblyDifferent(before: string, after: string): [before: string, after: string] {
  const shown: [string, string] = [visible(before), visible(after)];
  return before !== after && looks(shown[0]) === looks(shown[1]) ? [ascii(before), ascii(after)] : shown;
}

/** What a text looks like, whatever it is made of (Unicode Standard Annex #15, NFKC). */
export function looks(text: string): string {
  return text.normalize("NFKC");
}

/** Everything but printable ASCII and line feeds as `\uXXXX`. */
export function ascii(text: string): string {
  return text.replaceAll(NOT_ASCII, escaped);
}

/** Changes for log and audit: the first hundred, and how many there are. */
export function shownChanges(changes: readonly ToolChange[]): {
  count: number;
  changes: { tool: string; from?: string; to: string }[];
} {
  const first = changes.slice(0, MOST_NAMES).map((change) => ({ ...change, tool: shownName(change.tool) }));
  return { count: changes.length, changes: first };
}

/** A tool's name, for people to read. */
export function shownName(name: string): string {
  return visible(name.slice(0, LONGEST_NAME));
}

function escaped(found: string): string {
  return Array.from({ length: found.length }, (_, at) => {
    return `\\u${found.charCodeAt(at).toString(16).padStart(4, "0")}`;
  }).join("");
}
