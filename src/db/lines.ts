import type { PostgresPool, PostgresPoolClient } from "kysely";
import { Client, Pool, type PoolClient, type PoolConfig } from "pg";
import type { Log } from "../base/index.ts";
import { faultProblem, postgresFault } from "./faults.ts";
import { Line } from "./line.ts";

export type LinesConfig = PoolConfig & { max: number };

/** More than this many waiting for a connection would only wait in vain. */
const WAITING_PER_CONNECTION = 20;
const FIRST_PROBE_MS = 100;
const LONGEST_PROBE_MS = 1_000;

/**
 * The connections to Postgres that statements go over. While the database does not answer, nobody but one probe tries it:
 * everybody else is refused at once instead of waiting for a connection each.
 */
export class Lines implements PostgresPool {
  /** For Kysely; it has no use for them here. */
  readonly options: object = {};
  readonly #config: LinesConfig;
  readonly #log: Log;
  readonly #lines = new WeakMap<PoolClient, Line>();
  /** Called when it answers again. */
  readonly recovered: (() => void)[] = [];
  #pool: Pool;
  #lost: { cause: unknown; since: number } | undefined;
  #probing = false;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(config: LinesConfig, log: Log) {
    this.#config = config;
    this.#log = log;
    this.#pool = this.#open();
  }

  /** Whether it answered when it was last asked. */
  get answers(): boolean {
    return this.#lost === undefined;
  }

  /** A connection of its own until `release`. Throws `database_unavailable`, at once while that is known, or `database_busy`. */
  async connect(): Promise<PostgresPoolClient> {
    if (this.#lost) throw faultProblem("gone", this.#lost.cause);
    const { max } = this.#config;
    if (this.#pool.waitingCount >= max * WAITING_PER_CONNECTION) throw faultProblem("busy");
    try {
      return this.#lineOf(await this.#pool.connect()) as unknown as PostgresPoolClient;
    } catch (error) {
      const fault = postgresFault(error);
      if (fault === undefined) throw error;
      if (fault === "gone") this.#lose(error);
      // Perhaps all that are in use wait for a network that swallows everything.
      else this.#suspect();
      throw faultProblem(fault, error);
    }
  }

  async end(): Promise<void> {
    this.#ended = true;
    clearTimeout(this.#timer);
    await this.#pool.end();
  }

  #open(): Pool {
    const pool = new Pool(this.#config);
    // Of a connection that breaks while a transaction has it, `pg` tells only so; unheard it would end the process.
    pool.on("connect", (client) => client.on("error", (error) => this.#heard(error)));
    pool.on("error", (error) => this.#heard(error));
    return pool;
  }

  #lineOf(client: PoolClient): Line {
    let line = this.#lines.get(client);
    if (!line) {
      line = new Line(client, this.#log, () => this.#suspect());
      this.#lines.set(client, line);
    }
    return line;
  }

  #heard(error: unknown): void {
    this.#log.debug("database.connection_lost", { error });
    this.#suspect();
  }

  /** One connection that ended says little about the next: whether there is one is tried before anybody is refused. */
  #suspect(): void {
    if (this.#probing || this.#ended) return;
    this.#probing = true;
    void this.#probe(FIRST_PROBE_MS);
  }

  #lose(cause: unknown): void {
    if (this.#ended) return;
    if (!this.#lost) this.#log.error("database.lost", { error: cause });
    this.#lost ??= { cause, since: performance.now() };
    this.#suspect();
  }

  /** On a connection of its own: those of the pool may all hang. */
  async #probe(nextMs: number): Promise<void> {
    const client = new Client(this.#config);
    client.on("error", () => {});
    try {
      await client.connect();
      await client.query("select 1");
      this.#answered();
    } catch (error) {
      if (postgresFault(error) !== "gone") return this.#answered();
      this.#lose(error);
      if (this.#ended) return;
      this.#timer = setTimeout(() => void this.#probe(Math.min(LONGEST_PROBE_MS, nextMs * 2)), nextMs);
      this.#timer.unref();
    } finally {
      void client.end().catch(() => {});
    }
  }

  #answered(): void {
    this.#probing = false;
    const lost = this.#lost;
    if (!lost || this.#ended) return;
    this.#lost = undefined;
    // What was connected before is dead or about to be; whoever still has one of those may finish with it.
    const before = this.#pool;
    this.#pool = this.#open();
    void before.end().catch(() => {});
    this.#log.info("database.back", { away_ms: Math.round(performance.now() - lost.since) });
    for (const tell of this.recovered) tell();
  }
}
