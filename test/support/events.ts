import type { AnyJson } from "./read.ts";

/** The messages of an event stream, one after the other; everything else in it is passed over. */
export class Events {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  readonly #waiting: AnyJson[] = [];
  #text = "";
  #reading: Promise<boolean> | undefined;
  /** Every byte so far, as text. */
  raw = "";

  constructor(response: Response) {
    if (!response.body) throw new Error(`no stream: ${response.status}`);
    this.#reader = response.body.getReader();
  }

  /** The next message. Throws when the stream ended. */
  async next(): Promise<AnyJson> {
    while (this.#waiting.length === 0) if (!(await this.#more())) throw new Error("the stream ended");
    return this.#waiting.shift();
  }

  /** Resolves when the other side ended the stream; with what came before. */
  async rest(): Promise<AnyJson[]> {
    while (await this.#more());
    return this.#waiting.splice(0);
  }

  cancel(): Promise<void> {
    return this.#reader.cancel();
  }

  /** One read at a time, whoever asks. */
  #more(): Promise<boolean> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #read(): Promise<boolean> {
    const { value, done } = await this.#reader.read();
    if (done) return false;
    const text = this.#decoder.decode(value, { stream: true });
    this.raw += text;
    this.#text += text;
    for (let end = this.#text.indexOf("\n\n"); end >= 0; end = this.#text.indexOf("\n\n")) {
      const event = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 2);
      const data = event.split("\n").find((line) => line.startsWith("data: {"));
      if (data) this.#waiting.push(JSON.parse(data.slice("data: ".length)));
    }
    return true;
  }
}
