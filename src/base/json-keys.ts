import { JsonFault } from "./json-fault.ts";

const backslash = 0x5c;

/** More keys than this in one object, or an escape in one, and a Set takes over from comparing in place. */
const fewKeys = 16;

/** The keys of the objects that are open at this point of the text, as positions in it: nothing is allocated per key. */
export class JsonKeys {
  #text = "";
  #maxDepth = 0;
  #maxKeys = 0;
  /** Written over and never shortened: arrays that grow anew with every text cost more than what is in them. */
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #count = 0;
  /** Per open array or object: where its keys begin in the lists above. */
  readonly #bases: number[] = [];
  #depth = 0;
  #sets: (Set<string> | undefined)[] | undefined;

  /** Begins a text anew, whatever became of the one before. */
  start(text: string, maxDepth: number, maxKeys: number): this {
    this.#text = text;
    this.#maxDepth = maxDepth;
    this.#maxKeys = maxKeys;
    this.#count = 0;
    this.#depth = 0;
    this.#sets = undefined;
    return this;
  }

  /** Lets go of the text, which may be large and is somebody's. */
  end(): void {
    this.#text = "";
  }

  open(): void {
    if (this.#depth >= this.#maxDepth) throw new JsonFault("depth");
    this.#bases[this.#depth++] = this.#count;
  }

  close(): void {
    if (this.#depth === 0) throw new JsonFault("syntax");
    this.#count = this.#bases[--this.#depth]!;
    if (this.#sets !== undefined) this.#sets[this.#depth] = undefined;
  }

  /** A key without its quotes is at `[start, end)`. */
  add(start: number, end: number): void {
    if (this.#depth === 0) throw new JsonFault("syntax");
    const base = this.#bases[this.#depth - 1]!;
    const set = this.#sets?.[this.#depth - 1];
    if (set !== undefined) {
      this.#addToSet(set, start, end);
      return;
    }
    const length = end - start;
    if (length === 9 && this.#text.startsWith("__proto__", start)) throw new JsonFault("forbidden_key");
    if (this.#count - base >= fewKeys || this.#escaped(start, end)) {
      this.#addToSet(this.#makeSet(base), start, end);
      return;
    }
    for (let known = base; known < this.#count; known++) {
      const other = this.#starts[known]!;
      if (this.#ends[known]! - other === length && this.#equal(other, start, length)) {
        throw new JsonFault("duplicate_key");
      }
    }
    this.#starts[this.#count] = start;
    this.#ends[this.#count++] = end;
    if (this.#count - base > this.#maxKeys) throw new JsonFault("too_many_keys");
  }

  #escaped(start: number, end: number): boolean {
    for (let at = start; at < end; at++) if (this.#text.charCodeAt(at) === backslash) return true;
    return false;
  }

  #equal(one: number, other: number, length: number): boolean {
    for (let at = 0; at < length; at++) {
      if (this.#text.charCodeAt(one + at) !== this.#text.charCodeAt(other + at)) return false;
    }
    return true;
  }

  #makeSet(base: number): Set<string> {
    const set = new Set<string>();
    for (let known = base; known < this.#count; known++) {
      set.add(this.#text.slice(this.#starts[known], this.#ends[known]));
    }
    this.#sets ??= [];
    this.#sets[this.#depth - 1] = set;
    return set;
  }

  #addToSet(set: Set<string>, start: number, end: number): void {
    const written = this.#text.slice(start, end);
    const key = written.includes("\\") ? unescapeKey(written) : written;
    if (key === "__proto__") throw new JsonFault("forbidden_key");
    if (set.has(key)) throw new JsonFault("duplicate_key");
    set.add(key);
    if (set.size > this.#maxKeys) throw new JsonFault("too_many_keys");
  }
}

function unescapeKey(written: string): string {
  try {
    return JSON.parse(`"${written}"`);
  } catch {
    throw new JsonFault("syntax");
  }
}
