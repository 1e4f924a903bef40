import { randomInt } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { type Kysely, sql, type Transaction } from "kysely";
import type { Log } from "../base/index.ts";
import type { Changes } from "./changes.ts";
import { faultOf, faultProblem, outcomeUnknown } from "./faults.ts";
import { CommitLost } from "./line.ts";
import type { Tables } from "./tables.ts";

/** Times that a transaction is tried which others stood in the way of, and the pause before the second. */
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 10;
/** How long a commit that nobody heard the end of is asked after. */
const ASKING_MS = 5_000;
const ASKING_EVERY_MS = 200;

type Work<T> = (tx: Transaction<Tables>) => Promise<T>;

/**
 * Runs transactions: what they note as changed is written with their last statement and told once they have committed. One
 * that the database undid because of another is done again; so `work` changes nothing but through its `tx`.
 */
export class Transactions {
  readonly #handle: Kysely<Tables>;
  readonly #changes: Changes;
  readonly #log: Log;

  constructor(handle: Kysely<Tables>, changes: Changes, log: Log) {
    this.#handle = handle;
    this.#changes = changes;
    this.#log = log;
  }

  async run<T>(work: Work<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(work);
      } catch (error) {
        if (faultOf(error) !== "conflict" || attempt === ATTEMPTS) throw error;
        await pause(FIRST_PAUSE_MS * 2 ** (attempt - 1) + randomInt(FIRST_PAUSE_MS * 2 ** attempt));
      }
    }
  }

  #once<T>(work: Work<T>): Promise<T> {
    return this.#changes.collect(async (write) => {
      let result: T;
      try {
        await this.#handle.transaction().execute(async (tx) => {
          result = await work(tx);
          await write(tx);
        });
      } catch (error) {
        if (!(error instanceof CommitLost)) throw error;
        await this.#committed(error);
      }
      return result!;
    });
  }

  /** Resolves when the database says that it did commit; never by a guess, or something would be done twice (AV-09). */
  async #committed({ transaction, cause }: CommitLost): Promise<void> {
    const until = performance.now() + ASKING_MS;
    do {
      const status = await this.#statusOf(transaction);
      if (status !== undefined) this.#log.warn("database.commit_asked_after", { status });
      if (status === "committed") return;
      if (status === "aborted") throw faultProblem("gone", cause);
      await pause(ASKING_EVERY_MS);
    } while (performance.now() < until);
    throw outcomeUnknown(cause);
  }

  /** Undefined: it is not over, or the database does not answer. */
  async #statusOf(transaction: string): Promise<"committed" | "aborted" | undefined> {
    try {
      const { rows } = await sql<{ status: string | null }>`
        select pg_xact_status(${transaction}::xid8) as status
      `.execute(this.#handle);
      const status = rows[0]?.status;
      return status === "committed" || status === "aborted" ? status : undefined;
    } catch {
      return undefined;
    }
  }
}
