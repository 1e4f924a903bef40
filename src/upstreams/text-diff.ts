/** A line of a unified diff before it is laid out: in both texts, in the first only, in the second only. */
interface Line {
  sign: " " | "-" | "+";
  text: string;
}

const CONTEXT = 3;
/** Cells of the table; beyond that two stretches of lines are simply one in place of the other. */
const MOST_CELLS = 1_000_000;

/** The hunks of a unified diff of two texts, lines of context around each change; empty when they are the same. */
export function unifiedDiff(before: string, after: string): string[] {
  const lines = compare(before === "" ? [] : before.split("\n"), after === "" ? [] : after.split("\n"));
  return stretches(lines).flatMap(([from, to]) => [
    header(lines, from, to),
    ...lines.slice(from, to).map(written),
  ]);
}

function written({ sign, text }: Line): string {
  return sign + text;
}

/** Where changes are, with their context; those that touch are one. End exclusive. */
function stretches(lines: readonly Line[]): [from: number, to: number][] {
  const found: [number, number][] = [];
  for (const [at, { sign }] of lines.entries()) {
    if (sign === " ") continue;
    const from = Math.max(0, at - CONTEXT);
    const to = Math.min(lines.length, at + CONTEXT + 1);
    const last = found.at(-1);
    if (last && from <= last[1]) last[1] = to;
    else found.push([from, to]);
  }
  return found;
}

function header(lines: readonly Line[], from: number, to: number): string {
  const range = (absent: Line["sign"], mark: string) => {
    const of = (some: readonly Line[]) => some.filter(({ sign }) => sign !== absent).length;
    const count = of(lines.slice(from, to));
    // An empty stretch stands after the line before it.
    const start = of(lines.slice(0, from)) + (count === 0 ? 0 : 1);
    return `${mark}${start},${count}`;
  };
  return `@@ ${range("+", "-")} ${range("-", "+")} @@`;
}

function compare(before: readonly string[], after: readonly string[]): Line[] {
  const shortest = Math.min(before.length, after.length);
  let head = 0;
  while (head < shortest && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < shortest - head && before[before.length - 1 - tail] === after[after.length - 1 - tail])
    tail++;
  return [
    ...marked(" ", before.slice(0, head)),
    ...middle(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...marked(" ", before.slice(before.length - tail)),
  ];
}

function marked(sign: Line["sign"], texts: readonly string[]): Line[] {
  return texts.map((text) => ({ sign, text }));
}

/** By the longest common subsequence. */
function middle(before: readonly string[], after: readonly string[]): Line[] {
  const width = after.length + 1;
  if ((before.length + 1) * width > MOST_CELLS) return [...marked("-", before), ...marked("+", after)];
  // At (row, column): how many lines the rests from there on have in common.
  const common = new Uint32Array((before.length + 1) * width);
  for (let row = before.length - 1; row >= 0; row--)
    for (let column = after.length - 1; column >= 0; column--)
      common[row * width + column] =
        before[row] === after[column]
          ? common[(row + 1) * width + column + 1]! + 1
          : Math.max(common[(row + 1) * width + column]!, common[row * width + column + 1]!);
  const lines: Line[] = [];
  let row = 0;
  let column = 0;
  while (row < before.length || column < after.length) {
    const isInBoth = row < before.length && column < after.length && before[row] === after[column];
    const goesFirst =
      column === after.length ||
      (row < before.length && common[(row + 1) * width + column]! >= common[row * width + column + 1]!);
    if (isInBoth) {
      lines.push({ sign: " ", text: before[row]! });
      row++;
      column++;
    } else if (goesFirst) lines.push({ sign: "-", text: before[row++]! });
    else lines.push({ sign: "+", text: after[column++]! });
  }
  return lines;
}
