import { fstatSync, writeSync } from "node:fs";
import { pino } from "pino";
import type { Fields } from "./problem.ts";

/** One JSON line per event, named `domain.past_tense`. Secrets among the fields must be `Hidden`. */
export interface Log {
  debug(event: string, fields?: Fields): void;
  info(event: string, fields?: Fields): void;
  warn(event: string, fields?: Fields): void;
  error(event: string, fields?: Fields): void;
  child(fields: Fields): Log;
}

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** A log that writes JSON lines to `destination` (standard error unless told). */
export function openLog(level: LogLevel, destination: { write(line: string): void } = standardError()): Log {
  return wrap(pino({ level, base: undefined, timestamp: pino.stdTimeFunctions.isoTime }, destination));
}

const STDERR = 2;

/** A log that cannot be written (a full disk, a collector that has gone) must not end the process, and goes on when it can. */
function standardError(): { write(line: string): void } {
  if (!isFile(STDERR)) {
    if (process.stderr.listenerCount("error") === 0) process.stderr.on("error", () => {});
    return process.stderr;
  }
  // A stream closes for ever at the first write that is refused.
  return {
    write: (line) => {
      try {
        writeSync(STDERR, line);
      } catch {
        // There is nowhere left to say so.
      }
    },
  };
}

function isFile(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isFile();
  } catch {
    // Closed by who started us.
    return false;
  }
}

function wrap(logger: ReturnType<typeof pino>): Log {
  return {
    debug: (event, fields = {}) => logger.debug(describe(fields), event),
    info: (event, fields = {}) => logger.info(describe(fields), event),
    warn: (event, fields = {}) => logger.warn(describe(fields), event),
    error: (event, fields = {}) => logger.error(describe(fields), event),
    child: (fields) => wrap(logger.child(describe(fields))),
  };
}

/** Errors become name, message and stack; their other properties may hold request objects with headers in them. */
function describe(fields: Fields): Fields {
  const plain: Fields = {};
  for (const [key, value] of Object.entries(fields)) {
    plain[key] =
      value instanceof Error ? { name: value.name, message: value.message, stack: value.stack } : value;
  }
  return plain;
}
