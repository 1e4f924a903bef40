import type { Log } from "../base/index.ts";
import type { StdioCommand } from "../upstreams/index.ts";

/** Bytes of one line that are kept, and characters of it that are shown. */
const MAX_KEPT = 16 * 1024;
const MAX_SHOWN = 2_000;
const WINDOW_MS = 10_000;
const MAX_LINES = 200;
/** A shorter value would blank out half of what a program says, and protects nothing. */
const MIN_SECRET = 6;
const MASK = "[hidden]";

/** Values that nobody configured but that look like what they are. */
const credentials = /\b(?:Bearer|Basic)\s+[\w.~+/=-]{8,}|\b(?:sk-|pst_|gh[a-z]_|xox[a-z]-)[\w-]{8,}/gi;
const LF = 0x0a;

/** What a program writes to its standard error, line by line into our log: bounded, its secrets taken out. */
export class ProgramLog {
  readonly #log: Log;
  readonly #upstream: string;
  readonly #now: () => number;
  readonly #secrets: readonly string[];
  readonly #longest: number;
  #line: Buffer[] = [];
  #size = 0;
  #since = 0;
  #written = 0;
  #dropped = 0;

  constructor(log: Log, upstream: string, command: StdioCommand, now: () => number) {
    this.#log = log;
    this.#upstream = upstream;
    this.#now = now;
    this.#secrets = secretsOf(command);
    this.#longest = this.#secrets.reduce((most, { length }) => Math.max(most, length), 0);
  }

  push(chunk: Buffer): void {
    let from = 0;
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, from)) {
      this.#keep(chunk.subarray(from, end));
      this.flush();
      from = end + 1;
    }
    this.#keep(chunk.subarray(from));
  }

  /** Writes what has no line end yet. */
  flush(): void {
    const cut = this.#size > MAX_KEPT;
    let text = Buffer.concat(this.#line).toString("utf8").trimEnd();
    this.#line = [];
    this.#size = 0;
    if (text === "") return;
    // The first part of a secret that the cut went through must not be left standing.
    if (cut) text = text.slice(0, Math.max(0, text.length - this.#longest));
    this.#write(text);
  }

  #keep(piece: Buffer): void {
    const left = MAX_KEPT - this.#size;
    if (left > 0 && piece.length > 0) this.#line.push(Buffer.from(piece.subarray(0, left)));
    this.#size += piece.length;
  }

  #write(text: string): void {
    const now = this.#now();
    if (now - this.#since >= WINDOW_MS) {
      if (this.#dropped > 0)
        this.#log.warn("upstream.stderr_dropped", { upstream: this.#upstream, lines: this.#dropped });
      this.#since = now;
      this.#written = 0;
      this.#dropped = 0;
    }
    if (this.#written >= MAX_LINES) {
      this.#dropped += 1;
      return;
    }
    this.#written += 1;
    this.#log.info("upstream.stderr", { upstream: this.#upstream, line: this.#clean(text) });
  }

  #clean(text: string): string {
    let clean = text;
    for (const secret of this.#secrets) clean = clean.replaceAll(secret, MASK);
    clean = clean.replaceAll(credentials, MASK);
    return clean.length > MAX_SHOWN ? `${clean.slice(0, MAX_SHOWN)}…` : clean;
  }
}

/** Longest first, so that one which contains another goes whole. A key of many lines is printed line by line. */
function secretsOf({ env, secrets, args }: StdioCommand): string[] {
  const values = secrets.flatMap((name) => linesOf(env[name]!.reveal()));
  const inArgs = args.map((arg) => arg.reveal().replace(/^--?[\w-]+=/, "")).filter(looksSecret);
  const distinct = new Set([...values, ...inArgs].filter(({ length }) => length >= MIN_SECRET));
  return [...distinct].sort((a, b) => b.length - a.length);
}

function linesOf(value: string): string[] {
  return [value, ...value.split(/\r?\n/)].map((line) => line.trim());
}

/** A token among the arguments, not a path, a name or an address. */
function looksSecret(arg: string): boolean {
  return /^[\w.~+=-]{16,}$/.test(arg) && /\d/.test(arg) && !/^-/.test(arg);
}
