import { RelayFault } from "./fault.ts";

const CR = 0x0d;
const LF = 0x0a;

/** What may go back in `Last-Event-ID`: a header value, and no more of it than anybody needs. */
const EVENT_ID = /^[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?$/;
const RETRY = /^\d{1,9}$/;

/**
 * Server-sent events, incrementally (HTML Living Standard §9.2.5): bytes in, the `data` of complete events out; a comment is
 * nothing.
 */
export class SseReader {
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true });
  readonly #maxEvent: number;
  readonly #other: ((event: string, data: string) => void) | undefined;
  /** Pieces of the line that is not complete yet; never searched again, however long it grows. */
  #pieces: string[] = [];
  #length = 0;
  #afterCr = false;
  #data: string[] = [];
  #size = 0;
  #event = "";
  /** Of the event that is not complete yet. */
  #id: string | undefined;
  /** Where to take the stream up again: the id of the last complete event; undefined where it cannot be taken up. */
  lastEventId: string | undefined;
  /** `retry`: milliseconds that the sender wants between an end and the next try. */
  retryMs: number | undefined;

  /** `maxEvent`: characters of one event's data. `other` is told of events that are no messages. */
  constructor(maxEvent: number, other?: (event: string, data: string) => void) {
    this.#maxEvent = maxEvent;
    this.#other = other;
  }

  /** The data of every event that this chunk completes. Throws `RelayFault`. */
  push(chunk: Uint8Array): string[] {
    const text = this.#decode(chunk);
    const done: string[] = [];
    // The LF of a CRLF that the last chunk cut in two.
    let from = this.#afterCr && text.charCodeAt(0) === LF ? 1 : 0;
    if (text !== "") this.#afterCr = false;
    for (let end = lineEnd(text, from); end >= 0; end = lineEnd(text, from)) {
      const data = this.#line(this.#whole(text.slice(from, end)));
      if (data !== undefined) done.push(data);
      from = end + 1;
      if (text.charCodeAt(end) !== CR) continue;
      if (from === text.length) this.#afterCr = true;
      else if (text.charCodeAt(from) === LF) from += 1;
    }
    this.#keep(text.slice(from));
    return done;
  }

  #keep(piece: string): void {
    if (piece === "") return;
    this.#length += piece.length;
    if (this.#length > this.#maxEvent) throw new RelayFault("upstream_too_large");
    this.#pieces.push(piece);
  }

  #whole(end: string): string {
    if (this.#pieces.length === 0) return end;
    const line = this.#pieces.join("") + end;
    this.#pieces = [];
    this.#length = 0;
    return line;
  }

  #decode(chunk: Uint8Array): string {
    try {
      return this.#utf8.decode(chunk, { stream: true });
    } catch (cause) {
      throw new RelayFault("upstream_protocol", { cause });
    }
  }

  #line(line: string): string | undefined {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line.charCodeAt(colon + 1) === 0x20 ? colon + 2 : colon + 1);
    if (field !== "data") {
      if (field === "event") this.#event = value;
      else if (field === "id") this.#id = value;
      else if (field === "retry" && RETRY.test(value)) this.retryMs = Number(value);
      return undefined;
    }
    this.#size += value.length + 1;
    if (this.#size > this.#maxEvent) throw new RelayFault("upstream_too_large");
    this.#data.push(value);
    return undefined;
  }

  #dispatch(): string | undefined {
    if (this.#id !== undefined) {
      this.lastEventId = EVENT_ID.test(this.#id) ? this.#id : undefined;
      this.#id = undefined;
    }
    const data = this.#data.length === 1 ? this.#data[0] : this.#data.join("\n");
    const event = this.#event;
    this.#data = [];
    this.#size = 0;
    this.#event = "";
    // An event with empty data is the priming event of 2025-11-25; other names are not JSON-RPC.
    if (data === "" || event === "" || event === "message") return data || undefined;
    this.#other?.(event, data!);
    return undefined;
  }
}

/** Where the next line ends: LF, CR or CRLF. */
function lineEnd(text: string, from: number): number {
  const lf = text.indexOf("\n", from);
  const before = lf < 0 ? text.length : lf;
  for (let at = from; at < before; at++) if (text.charCodeAt(at) === CR) return at;
  return lf;
}
