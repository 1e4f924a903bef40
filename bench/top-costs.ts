import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

interface CallFrame {
  functionName: string;
  url: string;
  lineNumber: number;
}

interface Profile {
  nodes: { id: number; callFrame: CallFrame; children?: number[] }[];
  samples: number[];
  timeDeltas: number[];
}

export interface Cost {
  /** Function, file and line. */
  where: string;
  /** Of the time the process was not idle. */
  share: number;
}

export interface Costs {
  /** Time in the function itself. */
  self: Cost[];
  /** Time in our own function and in what it calls in Node and packages; what none of ours called, by package function. */
  charged: Cost[];
  /** Time in our own function and everything it calls. */
  total: Cost[];
}

const ROOT = new URL("..", import.meta.url).href;
const OURS = `${ROOT}src/`;
const IDLE = "(idle)";

/** What the dearest functions are in the last `lastMs` of the newest profile in a `--cpu-prof` folder. */
export function topCosts(folder: string, lastMs: number, count: number): Costs {
  const newest = readdirSync(folder)
    .filter((file) => file.endsWith(".cpuprofile"))
    .sort()
    .at(-1)!;
  const profile = JSON.parse(readFileSync(join(folder, newest), "utf8")) as Profile;
  const stacks = stacksOf(profile);
  const [self, charged, total] = [new Map(), new Map(), new Map()] as Map<string, number>[];
  for (const [id, time] of lastSamples(profile, lastMs)) {
    const stack = stacks.get(id)!;
    if (stack[0]!.functionName === IDLE) continue;
    add(self!, nameOf(stack[0]!), time);
    const ours = stack.filter((frame) => frame.url.startsWith(OURS));
    add(charged!, nameOf(ours[0] ?? stack.find(isPackage) ?? stack[0]!), time);
    for (const name of new Set(ours.map(nameOf))) add(total!, name, time);
  }
  const busy = [...self!.values()].reduce((sum, time) => sum + time, 0);
  const top = (spent: Map<string, number>) =>
    [...spent]
      .sort(([, a], [, b]) => b - a)
      .slice(0, count)
      .map(([where, time]) => ({ where, share: time / busy }));
  return { self: top(self!), charged: top(charged!), total: top(total!) };
}

/** Microseconds by node, of the end of the profile. */
function lastSamples({ samples, timeDeltas }: Profile, lastMs: number): Map<number, number> {
  const spent = new Map<number, number>();
  let left = lastMs * 1000;
  for (let at = samples.length - 1; at >= 0 && left > 0; at--) {
    const time = Math.max(0, timeDeltas[at]!);
    left -= time;
    add(spent, samples[at]!, time);
  }
  return spent;
}

/** The frames of every node, the innermost first. */
function stacksOf({ nodes }: Profile): Map<number, CallFrame[]> {
  const stacks = new Map<number, CallFrame[]>();
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const visit = (id: number, outer: CallFrame[]) => {
    const { callFrame, children = [] } = byId.get(id)!;
    const stack = [callFrame, ...outer];
    stacks.set(id, stack);
    for (const child of children) visit(child, stack);
  };
  visit(nodes[0]!.id, []);
  return stacks;
}

function add<Key>(sums: Map<Key, number>, key: Key, amount: number): void {
  sums.set(key, (sums.get(key) ?? 0) + amount);
}

function isPackage({ url }: CallFrame): boolean {
  return url.includes("/node_modules/");
}

function nameOf({ functionName, url, lineNumber }: CallFrame): string {
  const name = functionName || "(anonymous)";
  return url === "" ? name : `${name}  ${url.replace(ROOT, "")}:${lineNumber + 1}`;
}
