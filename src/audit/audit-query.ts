import { setImmediate } from "node:timers/promises";
import { type SqlBool, sql } from "kysely";
import type { Database, Row } from "../db/index.ts";
import { likeLiteral } from "../http/index.ts";

export interface AuditFilter {
  /** Exact events, or all of a domain: `session.*`. */
  events?: readonly string[];
  actor?: string;
  /** `mode:id`, or an id whatever its mode. */
  owner?: string;
  upstreamId?: string;
  /** Milliseconds since 1970; `from` included, `to` not. */
  from?: number;
  to?: number;
  /** Part of anything in the line; case does not count. */
  q?: string;
  /** Only what this person did, or what was done for them. */
  ofUser?: string;
}

export type Direction = "newest_first" | "oldest_first";

/** Lines that match, and where to go on; without `next` there are no more. */
export interface AuditPage {
  rows: Row<"audit">[];
  next?: string;
}

/** Lines looked at in one statement: SQLite reads in the thread that serves the calls. */
const WINDOW = 5000;

/**
 * Reads the trail in the order of its ids, which begin with the time: the primary key is the only index, because every
 * other one would slow the append. So a filter looks at lines, `WINDOW` at a time.
 */
export class AuditReader {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Up to `limit` matching lines past `cursor` (an id), of at most `windows` windows. A page may be short, or empty, and
   * still have a `next`.
   */
  async page(
    filter: AuditFilter,
    options: { cursor?: string; limit: number; direction: Direction; windows: number },
  ): Promise<AuditPage> {
    const { limit, direction } = options;
    const rows: Row<"audit">[] = [];
    let cursor = options.cursor;
    for (let window = 0; window < options.windows; window += 1) {
      const end = await this.#windowEnd(filter, cursor, direction);
      const found = await this.#matching(filter, cursor, end, direction, limit - rows.length);
      rows.push(...found);
      if (rows.length >= limit) return { rows, next: rows.at(-1)!.id };
      if (end === undefined) return { rows };
      cursor = end;
      // SQLite answers without letting go of the thread: others have their turn before the next window.
      await setImmediate();
    }
    return { rows, next: cursor };
  }

  /** The last id of the window; undefined when the trail ends in it. */
  async #windowEnd(
    filter: AuditFilter,
    cursor: string | undefined,
    direction: Direction,
  ): Promise<string | undefined> {
    const row = await this.#between(filter, cursor, direction)
      .select("id")
      .orderBy("id", direction === "newest_first" ? "desc" : "asc")
      .limit(1)
      .offset(WINDOW - 1)
      .executeTakeFirst();
    return row?.id;
  }

  #matching(
    filter: AuditFilter,
    cursor: string | undefined,
    end: string | undefined,
    direction: Direction,
    limit: number,
  ): Promise<Row<"audit">[]> {
    const newestFirst = direction === "newest_first";
    return this.#between(filter, cursor, direction)
      .selectAll()
      .$if(end !== undefined, (query) => query.where("id", newestFirst ? ">=" : "<=", end!))
      .where((row) => row.and(conditions(filter)))
      .orderBy("id", newestFirst ? "desc" : "asc")
      .limit(limit)
      .execute();
  }

  /** The lines of a time, past the cursor; by id alone. */
  #between({ from, to }: AuditFilter, cursor: string | undefined, direction: Direction) {
    return this.#database.db
      .selectFrom("audit")
      .$if(from !== undefined, (query) => query.where("id", ">=", auditIdAt(from!)))
      .$if(to !== undefined, (query) => query.where("id", "<", auditIdAt(to!)))
      .$if(cursor !== undefined, (query) =>
        query.where("id", direction === "newest_first" ? "<" : ">", cursor!),
      );
  }
}

/** Every id made before `at` is less than this, every other one greater. */
export function auditIdAt(at: number): string {
  return `aud_${Math.max(0, at).toString(36).padStart(9, "0")}`;
}

function conditions(filter: AuditFilter) {
  const { events, actor, owner, upstreamId, q, ofUser } = filter;
  const all = [sql<SqlBool>`1 = 1`];
  if (events && events.length > 0) all.push(anyOf(events.map(eventMatches)));
  if (actor !== undefined) all.push(sql`actor = ${actor}`);
  if (owner !== undefined)
    all.push(anyOf([sql`owner_id = ${owner}`, sql`owner_mode || ':' || owner_id = ${owner}`]));
  if (upstreamId !== undefined) all.push(sql`upstream_id = ${upstreamId}`);
  if (ofUser !== undefined) all.push(anyOf(ownLines(ofUser)));
  if (q !== undefined) all.push(contains(q));
  return all;
}

function anyOf(conditions: ReturnType<typeof sql<SqlBool>>[]) {
  return sql<SqlBool>`(${sql.join(conditions, sql` or `)})`;
}

function eventMatches(event: string) {
  if (!event.endsWith(".*")) return sql<SqlBool>`event = ${event}`;
  return sql<SqlBool>`event like ${`${likeLiteral(event.slice(0, -1))}%`} escape '\\'`;
}

/** What they did, by themselves or by a token for them, and what happened to what is theirs. */
function ownLines(userId: string) {
  const byToken = `user:${userId}/`;
  return [
    sql<SqlBool>`actor = ${`user:${userId}`}`,
    sql<SqlBool>`substr(actor, 1, ${sql.lit(byToken.length)}) = ${byToken}`,
    sql<SqlBool>`(owner_mode = 'user' and owner_id = ${userId})`,
  ];
}

function contains(q: string) {
  const like = `%${likeLiteral(q.toLowerCase())}%`;
  const text = sql`lower(event || ' ' || actor || ' ' || coalesce(owner_id, '') || ' ' || coalesce(upstream_id, '') || ' ' || coalesce(request_id, '') || ' ' || detail_json)`;
  return sql<SqlBool>`${text} like ${like} escape '\\'`;
}
