import { sql } from "kysely";
import { openLog } from "../../src/base/index.ts";
import { type Database, openDatabase, tableOrder } from "../../src/db/index.ts";
import type { Management } from "../journeys/steps/management.ts";
import { visitAll } from "./traffic.ts";

/** A gateway with the protected upstream and a key for it. */
export interface House {
  baseUrl: string;
  databaseUrl: string;
  admin: Management;
  upstreamId: string;
  key: { value: string };
  /** Moves the gateway's clock forward, in milliseconds. */
  advance(ms: number): void;
  /** Everything that happens by itself now and then, once, now. */
  runJobs(): Promise<void>;
}

export interface Counted {
  rows: Record<string, number>;
  /** Of the file, on SQLite; free ones included. */
  pages: number | undefined;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * What stands in the database before, and after each of two rounds of visits that leave nothing behind, `times` of each kind, 39 days
 * and the sweeps of those.
 */
export async function rounds(house: House, times: number): Promise<[Counted, Counted, Counted]> {
  const { baseUrl, databaseUrl, admin, upstreamId, key } = house;
  const plenty = { requests: 10_000_000, window_seconds: 1 };
  await admin.expect(200, "PUT", "/api/config", {
    client: { enforce_auth_on_inference: false, audit_retention_days: 7, grant_idle_days: 20 },
    limits: { guess: plenty, register: plenty, authorize: plenty, token: plenty, api: plenty },
  });
  await admin.expect(200, "PUT", `/api/mcp/client/${upstreamId}`, { allow_on_all_virtual_keys: true });
  const target = { baseUrl, key: key.value, upstreamId, tool: "protected-whoami" };
  const database = await openDatabase(databaseUrl, openLog("silent"));
  try {
    const round = async (of: number) => {
      if (of > 0) await visitAll(target, of);
      // What ends in the first sweep is written down, and swept in its turn.
      for (const days of [31, 8]) {
        house.advance(days * DAY_MS);
        await house.runJobs();
      }
      return count(database);
    };
    return [await round(0), await round(times), await round(times)];
  } finally {
    await database.close();
  }
}

async function count({ db, kind }: Database): Promise<Counted> {
  const rows: Record<string, number> = {};
  for (const table of tableOrder) {
    const counted = await sql<{ n: number }>`select count(*) as n from ${sql.table(table)}`.execute(db);
    rows[table] = Number(counted.rows[0]!.n);
  }
  if (kind === "postgres") return { rows, pages: undefined };
  const { rows: pages } = await sql<{ page_count: number }>`pragma page_count`.execute(db);
  return { rows, pages: pages[0]!.page_count };
}
