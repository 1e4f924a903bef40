const EVERY_MS = 200;
const CLEAR = "\r\u001b[K";

/** Says on a terminal how far it is; elsewhere it says nothing. */
export class Progress {
  readonly #what: string;
  #said = Number.NEGATIVE_INFINITY;

  constructor(what: string) {
    this.#what = what;
  }

  show(table: string, rows: number): void {
    const now = performance.now();
    if (!process.stderr.isTTY || now - this.#said < EVERY_MS) return;
    this.#said = now;
    process.stderr.write(`${CLEAR}${this.#what}: ${table}, ${rows.toLocaleString("en")} rows`);
  }

  done(): void {
    if (process.stderr.isTTY) process.stderr.write(CLEAR);
  }
}
