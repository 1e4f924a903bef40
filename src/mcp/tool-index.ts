import type { ToolDefinition } from "../upstreams/index.ts";
import { isObject } from "./body.ts";
import type { Entry } from "./catalog.ts";
import { wordsOf } from "./words.ts";

/** How much a word counts by where it stands. */
const NAME = 3;
const ELSEWHERE = 1;
/** How much a word counts that only begins like the one that is looked for, and from how many letters on. */
const BEGINS = 0.4;
const SHORTEST_BEGINNING = 3;
const MOST_BEGINNINGS = 100;
/** The constants of Okapi BM25, as everybody has them. */
const K1 = 1.2;
const B = 0.75;
/** What is read of one definition, so that a huge one costs no more than others. */
const MAX_TEXT = 4_000;
const MAX_PARAMETERS = 200;
const MAX_DEPTH = 4;
/** And of one question. */
const MAX_WORDS = 32;

/** What one search looks at: the tools that may be used, their number and how long they are. */
interface Scope {
  usable: readonly boolean[];
  count: number;
  meanLength: number;
}

/** The words of every tool, for searches by relevance (BM25): names count most, then descriptions and parameters. */
export class ToolIndex {
  readonly #entries: readonly Entry[];
  readonly #lengths: readonly number[];
  /** For each word: a tool's place, its weight there, the next tool's place … */
  readonly #places = new Map<string, number[]>();
  /** In order, so that words with the same beginning stand together. */
  readonly #words: readonly string[];

  /** `entries` in the order of names, which decides between equals. */
  constructor(entries: Iterable<Entry>) {
    this.#entries = [...entries];
    this.#lengths = this.#entries.map((entry, at) => this.#add(at, weightsOf(entry.modern)));
    this.#words = [...this.#places.keys()].sort();
  }

  #add(at: number, weights: ReadonlyMap<string, number>): number {
    let length = 0;
    for (const [word, weight] of weights) {
      const places = this.#places.get(word);
      if (places) places.push(at, weight);
      else this.#places.set(word, [at, weight]);
      length += weight;
    }
    return length;
  }

  /**
   * The tools of `usable` that have something of `query`, best first; all of them in the order of names where it has no
   * words. What is not usable counts for nothing, not even for how rare a word is.
   */
  search(query: string, usable: (entry: Entry) => boolean): Entry[] {
    const scope = this.#scope(usable);
    const words = new Set(wordsOf(query).slice(0, MAX_WORDS));
    if (words.size === 0) return this.#entries.filter((_, at) => scope.usable[at]);
    const scores = new Float64Array(this.#entries.length);
    for (const word of words) this.#score(word, scope, scores);
    const found = [...this.#entries.keys()].filter((at) => scores[at]! > 0);
    return found.sort((a, b) => scores[b]! - scores[a]! || a - b).map((at) => this.#entries[at]!);
  }

  #scope(usable: (entry: Entry) => boolean): Scope {
    const marked = this.#entries.map(usable);
    let [count, length] = [0, 0];
    for (const [at, isUsable] of marked.entries()) {
      if (!isUsable) continue;
      count += 1;
      length += this.#lengths[at]!;
    }
    return { usable: marked, count, meanLength: length / Math.max(count, 1) };
  }

  #score(word: string, { usable, count, meanLength }: Scope, scores: Float64Array): void {
    const weights = new Float64Array(this.#entries.length);
    let found = 0;
    for (const [known, share] of this.#like(word)) {
      const places = this.#places.get(known)!;
      for (let index = 0; index < places.length; index += 2) {
        const at = places[index]!;
        if (!usable[at]) continue;
        if (weights[at] === 0) found += 1;
        weights[at]! += places[index + 1]! * share;
      }
    }
    if (found === 0) return;
    const rarity = Math.log(1 + (count - found + 0.5) / (found + 0.5));
    for (const [at, weight] of weights.entries()) {
      if (weight === 0) continue;
      const length = 1 - B + (B * this.#lengths[at]!) / meanLength;
      scores[at]! += (rarity * weight * (K1 + 1)) / (weight + K1 * length);
    }
  }

  /** The words that `word` finds: itself, and those that begin with it. */
  *#like(word: string): Generator<[known: string, share: number]> {
    if (this.#places.has(word)) yield [word, 1];
    if (word.length < SHORTEST_BEGINNING) return;
    const from = this.#firstFrom(word);
    for (const known of this.#words.slice(from, from + MOST_BEGINNINGS)) {
      if (!known.startsWith(word)) return;
      if (known !== word) yield [known, BEGINS];
    }
  }

  #firstFrom(word: string): number {
    let [low, high] = [0, this.#words.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#words[middle]! < word) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function weightsOf(tool: ToolDefinition): Map<string, number> {
  const weights = new Map<string, number>();
  const add = (text: unknown, weight: number) => {
    if (typeof text !== "string") return;
    for (const word of wordsOf(text.slice(0, MAX_TEXT))) weights.set(word, (weights.get(word) ?? 0) + weight);
  };
  add(tool.name, NAME);
  add(tool.title ?? (isObject(tool.annotations) ? tool.annotations.title : undefined), NAME);
  add(tool.description, ELSEWHERE);
  for (const name of parametersOf(tool.inputSchema, [], 0)) add(name, ELSEWHERE);
  return weights;
}

function parametersOf(schema: unknown, found: string[], depth: number): string[] {
  if (!isObject(schema) || depth > MAX_DEPTH) return found;
  const { properties, items } = schema;
  for (const [name, child] of isObject(properties) ? Object.entries(properties) : []) {
    if (found.length >= MAX_PARAMETERS) return found;
    found.push(name);
    parametersOf(child, found, depth + 1);
  }
  return parametersOf(items, found, depth + 1);
}
