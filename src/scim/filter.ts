import { Problem } from "../base/index.ts";

/** RFC 7644 §3.4.2.2, table 3. */
export const comparisons = ["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"] as const;
export type Comparison = (typeof comparisons)[number];
export type FilterValue = string | number | boolean | null;

/** `path`: as written, for whoever knows the schema. `some`: at least one value of a multi-valued attribute matches. */
export type Filter =
  | { op: "and" | "or"; all: readonly Filter[] }
  | { op: "not"; filter: Filter }
  | { op: "pr"; path: string }
  | { op: Comparison; path: string; value: FilterValue }
  | { op: "some"; path: string; filter: Filter };

/** The target of a PATCH operation (RFC 7644 §3.5.2): `emails[type eq "work"].value`. */
export interface PatchPath {
  path: string;
  filter?: Filter;
  part?: string;
}

const MAX_LENGTH = 4096;
const MAX_DEPTH = 12;
/** Each becomes a condition of one SQL statement. */
const MAX_COMPARISONS = 100;

/** One token: a string, a bracket, or a word, which is also a number, a path and an operator. */
const token = /\s*(?:("(?:[^"\\]|\\.)*")|([()[\]])|([^\s()[\]"]+))/suy;

interface Token {
  kind: "string" | "bracket" | "word";
  text: string;
}

/** Reads a filter; throws 400 `invalid_filter`. */
export function parseFilter(text: string): Filter {
  const parser = new Parser(text, "invalid_filter");
  const filter = parser.either(0);
  parser.end();
  return filter;
}

/** Reads the path of a PATCH operation; throws 400 `invalid_path`. */
export function parsePath(text: string): PatchPath {
  const parser = new Parser(text, "invalid_path");
  const path = parser.word();
  const found: PatchPath = { path };
  if (parser.takeBracket("[")) {
    found.filter = parser.either(1);
    parser.requireBracket("]");
    const after = parser.takeWord();
    if (after !== undefined) {
      if (!/^\.[$\w-]+$/.test(after)) parser.fail();
      found.part = after.slice(1);
    }
  }
  parser.end();
  return found;
}

/** By recursive descent: `or` binds weakest, then `and`, then `not` and brackets. */
class Parser {
  readonly #tokens: Token[];
  readonly #code: "invalid_filter" | "invalid_path";
  #at = 0;
  #comparisons = 0;

  constructor(text: string, code: "invalid_filter" | "invalid_path") {
    this.#code = code;
    this.#tokens = text.length > MAX_LENGTH ? this.fail() : (tokensOf(text) ?? this.fail());
  }

  either(depth: number): Filter {
    return this.#joined("or", depth, () => this.#joined("and", depth, () => this.#one(depth + 1)));
  }

  word(): string {
    return this.takeWord() ?? this.fail();
  }

  takeWord(): string | undefined {
    const next = this.#tokens[this.#at];
    if (next?.kind !== "word") return undefined;
    this.#at += 1;
    return next.text;
  }

  takeBracket(bracket: string): boolean {
    const next = this.#tokens[this.#at];
    if (next?.kind !== "bracket" || next.text !== bracket) return false;
    this.#at += 1;
    return true;
  }

  requireBracket(bracket: string): void {
    if (!this.takeBracket(bracket)) this.fail();
  }

  end(): void {
    if (this.#at < this.#tokens.length) this.fail();
  }

  fail(): never {
    throw new Problem(
      "invalid",
      this.#code === "invalid_path" ? "invalid_path" : "invalid_filter",
      'This is not written as RFC 7644 §3.4.2.2 has it, or is too long. Write for example userName eq "ada@example.com".',
      { param: this.#code === "invalid_path" ? "path" : "filter" },
    );
  }

  #joined(word: "and" | "or", depth: number, part: () => Filter): Filter {
    if (depth > MAX_DEPTH) this.fail();
    const all = [part()];
    while (this.#takeKeyword(word)) all.push(part());
    return all.length === 1 ? all[0]! : { op: word, all };
  }

  #one(depth: number): Filter {
    const isNegated = this.#isNegation();
    if (isNegated) this.#at += 1;
    if (this.takeBracket("(")) {
      const filter = this.either(depth);
      this.requireBracket(")");
      return isNegated ? { op: "not", filter } : filter;
    }
    return this.#comparison(depth);
  }

  /** `not` is a word of the grammar only before a bracket; an attribute might have that name. */
  #isNegation(): boolean {
    const [word, bracket] = this.#tokens.slice(this.#at, this.#at + 2);
    return word?.kind === "word" && word.text.toLowerCase() === "not" && bracket?.text === "(";
  }

  #comparison(depth: number): Filter {
    this.#comparisons += 1;
    if (this.#comparisons > MAX_COMPARISONS) this.fail();
    const path = this.word();
    if (this.takeBracket("[")) return this.#some(path, depth);
    return this.#compare(path);
  }

  /** With what Entra ID writes after it: `emails[type eq "work"].value eq "…"` is a condition on the same value. */
  #some(path: string, depth: number): Filter {
    const filter = this.either(depth);
    this.requireBracket("]");
    const next = this.#tokens[this.#at];
    if (next?.kind !== "word" || !next.text.startsWith(".")) return { op: "some", path, filter };
    this.#at += 1;
    return { op: "some", path, filter: { op: "and", all: [filter, this.#compare(next.text.slice(1))] } };
  }

  #compare(path: string): Filter {
    const op = this.word().toLowerCase();
    if (op === "pr") return { op, path };
    if (!isComparison(op)) this.fail();
    return { op, path, value: this.#value() };
  }

  /** A JSON value (RFC 7159), as the grammar's `compValue`. */
  #value(): FilterValue {
    const next = this.#tokens[this.#at++];
    if (!next || next.kind === "bracket") this.fail();
    const text =
      next.kind === "word" && /^(true|false|null)$/i.test(next.text) ? next.text.toLowerCase() : next.text;
    const value = scalarOf(text);
    return value === undefined ? this.fail() : value;
  }

  #takeKeyword(word: string): boolean {
    const next = this.#tokens[this.#at];
    if (next?.kind !== "word" || next.text.toLowerCase() !== word) return false;
    this.#at += 1;
    return true;
  }
}

/** No object and no list; and no NUL, which Postgres takes in no text, however it was written. */
function scalarOf(text: string): FilterValue | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (value !== null && typeof value === "object") return undefined;
    if (typeof value !== "string") return value as FilterValue;
    return value.includes("\0") ? undefined : value.toWellFormed();
  } catch {
    return undefined;
  }
}

function isComparison(word: string): word is Comparison {
  return (comparisons as readonly string[]).includes(word);
}

function tokensOf(text: string): Token[] | undefined {
  const found: Token[] = [];
  const end = text.trimEnd().length;
  token.lastIndex = 0;
  while (token.lastIndex < end) {
    const match = token.exec(text);
    if (!match) return undefined;
    const [, string, bracket, word] = match;
    if (string !== undefined) found.push({ kind: "string", text: string });
    else if (bracket !== undefined) found.push({ kind: "bracket", text: bracket });
    else found.push({ kind: "word", text: word! });
  }
  return found;
}
