import { Problem } from "../base/index.ts";

/**
 * What a database's error means for whoever waited on it.
 *
 * - `gone`: it does not answer, or the connection broke; a statement that was on its way may have been done;
 * - `busy`: it answers, but has no room just now; nothing was done;
 * - `conflict`: two transactions stood in each other's way and this one was undone: doing it again helps;
 * - `slow`: a statement took longer than it may, and was undone;
 * - `read_only`: it takes no writes (a standby, or a file that may not be written);
 * - `full`: its disk is full.
 */
export type Fault = "gone" | "busy" | "conflict" | "slow" | "read_only" | "full";

const faults = new WeakMap<Problem, Fault>();

/** What kind of database error a thrown value is; undefined: it is none, or a bug in a statement of ours. */
export function faultOf(error: unknown): Fault | undefined {
  return error instanceof Problem ? faults.get(error) : undefined;
}

/** The refusal for callers, in the words of errors.md. `cause` is for the log only. */
export function faultProblem(fault: Fault, cause?: unknown): Problem {
  const problem = sentenceOf(fault, cause);
  faults.set(problem, fault);
  return problem;
}

function sentenceOf(fault: Fault, cause: unknown): Problem {
  const log = { database: fault };
  switch (fault) {
    case "gone":
    case "slow":
      return new Problem(
        "unavailable",
        "database_unavailable",
        "The gateway's database does not answer just now, so this could not be done. Try again in a moment.",
        { cause, log, retryAfter: 2 },
      );
    case "busy":
    case "conflict":
      return new Problem(
        "unavailable",
        "database_busy",
        "The gateway's database has too much to do just now; nothing was changed. Try again in a moment.",
        { cause, log, retryAfter: 1 },
      );
    case "read_only":
      return new Problem(
        "unavailable",
        "database_read_only",
        "The gateway's database takes no changes just now; nothing was changed. Try again in a moment.",
        { cause, log, retryAfter: 5 },
      );
    case "full":
      return new Problem(
        "unavailable",
        "database_full",
        "The disk of the gateway's database is full; nothing was changed. Its operator must make room.",
        { cause, log, retryAfter: 30 },
      );
  }
}

/** The commit was on its way when the connection broke, and the database could not be asked since what became of it. */
export function outcomeUnknown(cause: unknown): Problem {
  return new Problem(
    "unavailable",
    "outcome_unknown",
    "The gateway's database broke off while it was storing this. Look whether it was done before you do it again.",
    { cause, log: { database: "outcome_unknown" }, retryAfter: 5 },
  );
}

/** An error of `pg`, of its pool or of the network below it. */
export function postgresFault(error: unknown): Fault | undefined {
  const { code, message = "" } = (error ?? {}) as { code?: unknown; message?: string };
  if (typeof code === "string") return sqlStates.get(code) ?? classes.get(code.slice(0, 2)) ?? network(code);
  if (/timeout exceeded when trying to connect/.test(message)) return "busy";
  return lostWords.test(message) ? "gone" : undefined;
}

/** PostgreSQL, appendix A "Error Codes". */
const sqlStates = new Map<string, Fault>([
  ["25006", "read_only"],
  ["25P03", "gone"], // idle_in_transaction_session_timeout
  ["40001", "conflict"],
  ["40P01", "conflict"],
  ["40003", "gone"],
  ["53100", "full"],
  ["55P03", "busy"], // lock_timeout
  ["57014", "slow"], // statement_timeout
  ["57P01", "gone"],
  ["57P02", "gone"],
  ["57P03", "gone"],
  ["57P04", "gone"],
  ["57P05", "gone"],
  ["58030", "gone"],
  ["XX001", "gone"],
]);

/** By the class of an SQLSTATE: connections, resources, and credentials that were changed under us. */
const classes = new Map<string, Fault>([
  ["08", "gone"],
  ["28", "gone"],
  ["53", "busy"],
]);

function network(code: string): Fault | undefined {
  return /^E[A-Z_]+$/.test(code) && !code.startsWith("ERR") ? "gone" : undefined;
}

/** What `pg` says in words only. */
const lostWords =
  /Connection terminated|timeout expired|Query read timeout|not queryable|Client was closed|connection has been discarded/;

/** An error of `node:sqlite`; https://sqlite.org/rescode.html, the primary codes. */
export function sqliteFault(error: unknown): Fault | undefined {
  const { code, errcode } = (error ?? {}) as { code?: unknown; errcode?: unknown };
  if (code !== "ERR_SQLITE_ERROR" || typeof errcode !== "number") return undefined;
  switch (errcode & 0xff) {
    case 5: // SQLITE_BUSY
    case 6: // SQLITE_LOCKED
      return "busy";
    case 8: // SQLITE_READONLY
      return "read_only";
    case 13: // SQLITE_FULL
      return "full";
    case 10: // SQLITE_IOERR
    case 14: // SQLITE_CANTOPEN
      return "gone";
    default:
      return undefined;
  }
}
