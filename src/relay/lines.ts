import { RelayFault } from "./fault.ts";

const LF = 0x0a;

/**
 * Cuts what a program writes into lines (MCP stdio: one message per line, no line break inside). Bytes in, complete lines
 * out; a line that grows beyond `max` is `RelayFault` `upstream_too_large`.
 */
export class LineReader {
  readonly #max: number;
  /** Pieces of the line that is not complete yet; never searched again. */
  #pieces: Uint8Array[] = [];
  #size = 0;

  /** `max`: bytes of one line. */
  constructor(max: number) {
    this.#max = max;
  }

  push(chunk: Uint8Array): Uint8Array[] {
    const lines: Uint8Array[] = [];
    let from = 0;
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, from)) {
      this.#keep(chunk.subarray(from, end));
      lines.push(this.#take());
      from = end + 1;
    }
    this.#keep(chunk.subarray(from));
    return lines;
  }

  #keep(piece: Uint8Array): void {
    if (piece.byteLength === 0) return;
    this.#size += piece.byteLength;
    if (this.#size > this.#max) throw new RelayFault("upstream_too_large");
    this.#pieces.push(piece);
  }

  #take(): Uint8Array {
    const line = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#size = 0;
    return line;
  }
}
