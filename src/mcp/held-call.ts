import type { JsonObject } from "../base/index.ts";
import type { ClientAnswer, UpstreamRequest } from "../relay/index.ts";
import { isObject } from "./body.ts";
import { code, Refusal } from "./refusal.ts";
import type { NotificationSink, Reply } from "./reply.ts";

interface Ask {
  request: JsonObject;
  resolve(answer: ClientAnswer): void;
}

/** Which round of which held call a `requestState` stands for. */
export interface HeldAt {
  replica: string;
  id: string;
  round: number;
}

/** One call whose upstream waits while a client of 2026-07-28 answers it in another request. */
export class HeldCall {
  readonly id: string;
  readonly binding: string;
  readonly departure = new AbortController();
  /** Seals where the call stands into a `requestState`. */
  readonly wrap: (at: HeldAt) => string;
  /** Where notifications go; nowhere between two rounds. */
  sink: NotificationSink | undefined;
  reply!: Promise<Reply>;
  round = 0;
  /** A round is under way: its client waits. */
  busy = true;
  /** Its answer is there, and its client is not. */
  isOver = false;
  deadline: NodeJS.Timeout | undefined;
  readonly #asks = new Map<string, Ask>();
  #lastKey = 0;
  #rouse: (() => void) | undefined;

  constructor(id: string, binding: string, wrap: (at: HeldAt) => string) {
    this.id = id;
    this.binding = binding;
    this.wrap = wrap;
  }

  /** The upstream's question; resolves with what the client says in a later round. */
  readonly ask = ({ method, params, signal }: UpstreamRequest): Promise<ClientAnswer> => {
    this.#lastKey += 1;
    const key = `q${this.#lastKey}`;
    return new Promise((resolve) => {
      this.#asks.set(key, { request: { method, ...(params && { params }) }, resolve });
      signal.addEventListener("abort", () => {
        this.#asks.delete(key);
        resolve({ error: { code: code.internal, message: "The request was withdrawn." } });
      });
      this.#rouse?.();
    });
  };

  /** Resolves when there is something to ask; what comes in one go is asked in one go. */
  async asked(): Promise<undefined> {
    while (this.#asks.size === 0) {
      await new Promise<void>((resolve) => {
        this.#rouse = resolve;
      });
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  get questions(): JsonObject {
    return Object.fromEntries([...this.#asks].map(([key, { request }]) => [key, request]));
  }

  /** 2026-07-28 MRTR: unknown answers are ignored, missing ones are asked for again, malformed ones are an error. */
  take(responses: JsonObject): void {
    const answers = [...this.#asks].filter(([key]) => responses[key] !== undefined);
    for (const [key] of answers) {
      if (isObject(responses[key])) continue;
      throw new Refusal(code.invalidParams, `inputResponses["${key}"] must be an object.`);
    }
    for (const [key, { resolve }] of answers) {
      this.#asks.delete(key);
      resolve({ result: responses[key] as JsonObject });
    }
  }
}
