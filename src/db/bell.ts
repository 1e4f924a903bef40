import type { Client } from "pg";
import type { Log } from "../base/index.ts";

const CHANNEL = "postern_changes";
/** How often each replica proves to itself that it is heard, and without hearing itself for how long it does not count on it. */
const PROOF_MS = 4_000;
const PROVED_MS = 10_000;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 5_000;

export interface BellParts {
  /** A connection that is this bell's own, not yet connected. */
  connect(): Client;
  /** Says something on a channel over any other connection. */
  notify(channel: string, payload: string): Promise<unknown>;
  /** Whether every replica of this database listens. */
  everybodyListens(): Promise<boolean>;
  /** Unlike that of any other replica. */
  name: string;
  log: Log;
}

/**
 * Wakes the other replicas when something changed here (`NOTIFY`), and hears them (`LISTEN`), on one connection that is used
 * for nothing else. It only says that there is something to read: whoever misses it reads the table a little later.
 */
export class Bell {
  readonly #parts: BellParts;
  #client: Client | undefined;
  #heard: () => void = () => {};
  #provedAt = Number.NEGATIVE_INFINITY;
  #everybodyListens = false;
  #retryMs = FIRST_RETRY_MS;
  #retry: NodeJS.Timeout | undefined;
  #proof: NodeJS.Timeout | undefined;
  #isRinging = false;
  #again = false;
  #stopped = false;

  constructor(parts: BellParts) {
    this.#parts = parts;
  }

  /** Whether what others ring is known to arrive here. A pooler between us and the database may swallow it. */
  get works(): boolean {
    return this.#client !== undefined && performance.now() - this.#provedAt < PROVED_MS;
  }

  /** Whether what is rung here is heard by every replica, as of a few seconds ago. */
  get reachesAll(): boolean {
    return this.works && this.#everybodyListens;
  }

  /** `heard` is called when another replica rang, and when it may have while nobody listened. */
  start(heard: () => void): void {
    this.#heard = heard;
    this.#stopped = false;
    void this.#connect();
    this.#proof = setInterval(() => void this.#prove(), PROOF_MS);
    this.#proof.unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    clearInterval(this.#proof);
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => {});
  }

  /**
   * After the commit, never in the transaction: Postgres lets transactions that notify commit one after another. However
   * much changes while one is on its way, one more follows.
   */
  ring(): void {
    this.#again = true;
    if (!this.#isRinging) void this.#ringOut();
  }

  /** The database answers again: no need to wait for the next try. */
  reconnect(): void {
    if (this.#client || this.#stopped) return;
    clearTimeout(this.#retry);
    this.#retryMs = FIRST_RETRY_MS;
    void this.#connect();
  }

  async #ringOut(): Promise<void> {
    this.#isRinging = true;
    try {
      while (this.#again && this.#client) {
        this.#again = false;
        await this.#client.query(`notify ${CHANNEL}`);
      }
    } catch (error) {
      this.#parts.log.debug("changes.not_rung", { error });
    } finally {
      this.#isRinging = false;
    }
  }

  async #connect(): Promise<void> {
    const client = this.#parts.connect();
    let isOver = false;
    const over = (error?: unknown) => {
      if (isOver) return;
      isOver = true;
      if (this.#client === client) this.#client = undefined;
      void client.end().catch(() => {});
      if (!this.#stopped) this.#later(error);
    };
    client.on("error", over);
    client.on("end", over);
    client.on("notification", ({ processId, payload = "" }) => this.#notified(client, processId, payload));
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
    } catch (error) {
      return over(error);
    }
    if (this.#stopped || isOver) return over();
    this.#client = client;
    this.#retryMs = FIRST_RETRY_MS;
    void this.#prove();
    this.#heard();
  }

  #later(error: unknown): void {
    this.#parts.log.debug("changes.not_listening", { error });
    this.#provedAt = Number.NEGATIVE_INFINITY;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#connect(), this.#retryMs);
    this.#retry.unref();
    this.#retryMs = Math.min(LONGEST_RETRY_MS, this.#retryMs * 2);
  }

  #notified(client: Client, from: number, payload: string): void {
    if (payload !== "") {
      if (payload === this.#parts.name) this.#provedAt = performance.now();
      return;
    }
    if (from !== (client as { processID?: number }).processID) this.#heard();
  }

  /** Over another connection, as the others do it. */
  async #prove(): Promise<void> {
    const client = this.#client;
    if (!client) return;
    if (this.#provedAt > 0 && !this.works) {
      // The network may have dropped it without a word.
      this.#provedAt = Number.NEGATIVE_INFINITY;
      client.emit("error", new Error("notifications do not arrive"));
      return;
    }
    try {
      await this.#parts.notify(CHANNEL, this.#parts.name);
      this.#everybodyListens = await this.#parts.everybodyListens();
    } catch (error) {
      this.#everybodyListens = false;
      this.#parts.log.debug("changes.not_proved", { error });
    }
  }
}
