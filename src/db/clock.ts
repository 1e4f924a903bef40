import { sql } from "kysely";
import { type Clock, type Log, systemTime } from "../base/index.ts";
import type { Database } from "./open.ts";

const WORTH_A_WARNING_MS = 5_000;
/** A question that took longer says too little about when it was answered. */
const SLOW_MS = 2_000;

/**
 * Makes the clock follow the database's, which all replicas share; SQLite has none of its own. Says in the log how far the
 * system's clock (`system`, milliseconds) is from it, where that is worth knowing.
 */
export async function followClock(
  { kind, db }: Database,
  clock: Clock,
  { log, system = systemTime }: { log: Log; system?: () => number },
): Promise<void> {
  if (kind === "sqlite") return;
  const asked = performance.now();
  const { rows } = await sql<{ now: number }>`
    select (extract(epoch from clock_timestamp()) * 1000)::bigint as now`.execute(db);
  const answered = performance.now();
  if (answered - asked > SLOW_MS && clock.now()) return;
  const time = Number(rows[0]!.now);
  clock.follow(time, (asked + answered) / 2);
  const differsByMs = Math.round(system() - time);
  if (Math.abs(differsByMs) > WORTH_A_WARNING_MS) log.warn("clock.differs", { differs_by_ms: differsByMs });
}
