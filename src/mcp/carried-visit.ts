import type { JsonObject, Log } from "../base/index.ts";
import type { ClientAnswer, Notification, RelayCall, Relayed, UpstreamRequest } from "../relay/index.ts";
import { code } from "./refusal.ts";

/** A call as it travels: what is no data stays where the client is. */
export interface VisitingCall {
  id: string;
  /** The replica where its client is. */
  from: string;
  upstreamId: string;
  generation: number;
  /** Whether the client hears what comes in between, and can be asked. */
  hears: boolean;
  answers: boolean;
  call: Omit<RelayCall, "upstream" | "signal">;
}

/** What is said of a call to the replica where its client is. With nothing in it: it goes on. */
export interface CallWord {
  id: string;
  seq: number;
  heard?: Notification[];
  asked?: { key: string; request: JsonObject }[];
  withdrawn?: string[];
  done?: Relayed;
}

/** How often it is said that a call goes on, and how long nothing may be heard of it until it counts as lost. */
const BEAT_MS = 4_000;
export const MAX_SILENCE_MS = 15_000;
/** Each word is a row in the database: what comes in a moment travels together, the last of it if it is much. */
const GATHER_MS = 300;
const MAX_GATHERED = 64;

/** One call that is made here for a client at another replica. */
export class CarriedVisit {
  readonly #visiting: VisitingCall;
  readonly #say: (word: CallWord) => Promise<void>;
  readonly #log: Log;
  readonly #departure = new AbortController();
  readonly #open = new Map<string, (answer: ClientAnswer) => void>();
  #gathered: Notification[] = [];
  #gathering: NodeJS.Timeout | undefined;
  #seq = 0;
  #lastKey = 0;
  /** Words go one after another. */
  #saying: Promise<void> = Promise.resolve();

  constructor(visiting: VisitingCall, say: (word: CallWord) => Promise<void>, log: Log) {
    this.#visiting = visiting;
    this.#say = say;
    this.#log = log;
  }

  /** Never rejects. */
  async run(make: (call: Omit<RelayCall, "upstream">) => Promise<Relayed>): Promise<void> {
    const { call, hears, answers } = this.#visiting;
    const beat = setInterval(() => this.#word({}), BEAT_MS).unref();
    try {
      const relayed = await make({
        ...call,
        signal: this.#departure.signal,
        onNotification: hears ? (notification) => this.#hear(notification) : undefined,
        onRequest: answers ? (request) => this.#ask(request) : undefined,
      });
      this.finish(relayed);
    } catch (error) {
      this.#log.error("mcp.carried_call_failed", { error });
      this.finish({ outcome: "failed", code: "upstream_protocol", retryable: false });
    } finally {
      clearInterval(beat);
    }
  }

  finish(done: Relayed): void {
    clearTimeout(this.#gathering);
    this.#word({ heard: this.#gathered.splice(0), done });
  }

  /** Its client went. */
  leave(): void {
    this.#departure.abort();
  }

  answered(key: string, answer: ClientAnswer): void {
    this.#open.get(key)?.(answer);
    this.#open.delete(key);
  }

  #hear(notification: Notification): void {
    this.#gathered.push(notification);
    if (this.#gathered.length > MAX_GATHERED) this.#gathered.shift();
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      this.#word({ heard: this.#gathered.splice(0) });
    }, GATHER_MS).unref();
  }

  #ask({ method, params, signal }: UpstreamRequest): Promise<ClientAnswer> {
    this.#lastKey += 1;
    const key = `${this.#lastKey}`;
    return new Promise((resolve) => {
      this.#open.set(key, resolve);
      signal.addEventListener("abort", () => {
        if (!this.#open.delete(key)) return;
        this.#word({ withdrawn: [key] });
        resolve({ error: { code: code.internal, message: "The request was withdrawn." } });
      });
      this.#word({ asked: [{ key, request: { method, ...(params && { params }) } }] });
    });
  }

  #word(said: Omit<CallWord, "id" | "seq">): void {
    this.#seq += 1;
    const word = { ...said, id: this.#visiting.id, seq: this.#seq };
    this.#saying = this.#saying
      .then(() => this.#say(word))
      .catch((error: unknown) => this.#log.warn("mcp.message_lost", { error }));
  }
}
