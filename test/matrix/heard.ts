/** What arrived, in order, and a wait for what has not yet. */
export class Heard<T> {
  readonly all: T[] = [];
  readonly #waiting = new Set<{ wanted(item: T): boolean; resolve(item: T): void }>();

  add(item: T): void {
    this.all.push(item);
    for (const waiting of this.#waiting) {
      if (!waiting.wanted(item)) continue;
      this.#waiting.delete(waiting);
      waiting.resolve(item);
    }
  }

  /** The first that is `wanted`, at once if it is there. */
  first(wanted: (item: T) => boolean): Promise<T> {
    const there = this.all.find(wanted);
    return there === undefined ? this.next(wanted) : Promise.resolve(there);
  }

  /** The next that is `wanted`, from now on. */
  next(wanted: (item: T) => boolean): Promise<T> {
    return new Promise((resolve) => this.#waiting.add({ wanted, resolve }));
  }
}

/** The bytes of every answer as they came, as text: what an SDK makes of them may be less. */
export class Wire {
  #text = "";

  has(text: string): boolean {
    return this.#text.includes(text);
  }

  /** Hands every answer on and listens. */
  tapped(inner: typeof fetch): typeof fetch {
    return async (input, init) => {
      const response = await inner(input, init);
      if (!response.body) return response;
      const utf8 = new TextDecoder();
      const listening = new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => {
          this.#text += utf8.decode(chunk, { stream: true });
          controller.enqueue(chunk);
        },
      });
      const { status, statusText, headers } = response;
      return new Response(response.body.pipeThrough(listening), { status, statusText, headers });
    };
  }
}
