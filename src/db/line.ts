import type { PoolClient } from "pg";
import type { Log } from "../base/index.ts";
import { faultProblem, postgresFault } from "./faults.ts";

/** A statement that takes longer is named in the log, without its values. */
const SLOW_MS = 1_000;
const MAX_LOGGED = 500;

/** What `pg` gives back for one statement. */
export interface Answer {
  command: string;
  rowCount: number;
  rows: unknown[];
}

/** A commit that nobody heard the end of; `transaction` is the id by which the database can be asked (`pg_xact_status`). */
export class CommitLost extends Error {
  override name = "CommitLost";
  readonly transaction: string;

  constructor(transaction: string, cause: unknown) {
    super("the connection broke while a commit was on its way", { cause });
    this.transaction = transaction;
  }
}

/** One connection as Kysely uses it: errors in our words, slow statements in the log, transactions that know their own id. */
export class Line {
  readonly #client: PoolClient;
  readonly #log: Log;
  readonly #broke: () => void;
  #transaction: string | undefined;
  #isBroken = false;

  /** `broke` is called when the connection is no use any more. */
  constructor(client: PoolClient, log: Log, broke: () => void) {
    this.#client = client;
    this.#log = log;
    this.#broke = broke;
  }

  async query(sql: string, parameters: readonly unknown[]): Promise<Answer> {
    if (sql === "begin") return this.#begin();
    if (sql === "rollback") return this.#rollback();
    if (this.#isBroken) throw faultProblem("gone");
    const startedAt = performance.now();
    try {
      return (await this.#client.query(sql, parameters as unknown[])) as unknown as Answer;
    } catch (error) {
      const told = this.#told(error);
      const isUnheard = sql === "commit" && this.#isBroken && this.#transaction !== undefined;
      throw isUnheard ? new CommitLost(this.#transaction!, error) : told;
    } finally {
      this.#noteSlow(sql, performance.now() - startedAt);
    }
  }

  release(discard?: boolean): void {
    const isBroken = this.#isBroken;
    this.#isBroken = false;
    this.#transaction = undefined;
    this.#client.release(discard === true || isBroken);
  }

  /** Learns the transaction's id on the same trip: only with it an unheard commit can be asked about. */
  async #begin(): Promise<Answer> {
    try {
      const [begun, id] = (await this.#client.query(
        "begin; select pg_current_xact_id()::text as id",
      )) as unknown as [Answer, Answer];
      this.#transaction = (id.rows[0] as { id: string }).id;
      return begun;
    } catch (error) {
      // Perhaps it did begin: not to be used by anybody else.
      this.#isBroken = true;
      throw this.#told(error);
    }
  }

  /** Where the connection is gone, the database undoes everything by itself. */
  async #rollback(): Promise<Answer> {
    const undone = { command: "ROLLBACK", rowCount: 0, rows: [] };
    if (this.#isBroken) return undone;
    try {
      return (await this.#client.query("rollback")) as unknown as Answer;
    } catch (error) {
      this.#isBroken = true;
      this.#told(error);
      return undone;
    }
  }

  #told(error: unknown): unknown {
    const fault = postgresFault(error);
    if (fault === "gone") {
      this.#isBroken = true;
      this.#broke();
    }
    return fault === undefined ? error : faultProblem(fault, error);
  }

  #noteSlow(sql: string, ms: number): void {
    if (ms < SLOW_MS) return;
    this.#log.warn("database.slow_statement", { ms: Math.round(ms), statement: sql.slice(0, MAX_LOGGED) });
  }
}
