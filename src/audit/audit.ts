import { sql } from "kysely";
import { newId, type Owner, type World } from "../base/index.ts";
import type { Database, NewRow, Tx } from "../db/index.ts";

export interface AuditEntry {
  /** `domain.past_tense`. */
  event: string;
  /** `user:…`, `vk:…`, `admin_token`, `client:…`, `system`. */
  actor: string;
  owner?: Owner;
  upstreamId?: string;
  requestId?: string;
  /** Names, ids, outcomes. Never a secret. */
  detail?: Record<string, unknown>;
}

const columns = [
  "id",
  "at",
  "event",
  "actor",
  "owner_mode",
  "owner_id",
  "upstream_id",
  "request_id",
  "detail_json",
] as const satisfies (keyof NewRow<"audit">)[];

const MAX_WAITING = 10_000;
const BATCH = 200;

export class Audit {
  readonly #database: Database;
  readonly #world: World;
  #waiting: NewRow<"audit">[] = [];
  #dropped = 0;

  constructor(parts: { database: Database; world: World }) {
    this.#database = parts.database;
    this.#world = parts.world;
  }

  /** With a transaction: written in it. Without: written by the next `flush`. */
  async append(tx: Tx | undefined, entry: AuditEntry): Promise<void> {
    if (tx) await tx.insertInto("audit").values(this.#row(entry)).execute();
    else this.note(entry);
  }

  /** For the hot path: remembers the entry without waiting. When the database is away too long, the newest are counted and dropped. */
  note(entry: AuditEntry): void {
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push(this.#row(entry));
    else this.#dropped += 1;
  }

  /** Writes what waits; keeps it for the next time when the database does not answer. */
  async flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, BATCH);
      await this.#insert(batch);
      this.#waiting = this.#waiting.slice(batch.length);
    }
    if (this.#dropped > 0) {
      this.#world.log.error("audit.dropped", { entries: this.#dropped });
      this.#dropped = 0;
    }
  }

  /** One parameter for the whole batch: a row of its own for each costs more than the call it tells of. */
  async #insert(rows: readonly NewRow<"audit">[]): Promise<void> {
    const { db, kind } = this.#database;
    const batch = JSON.stringify(rows);
    const names = sql.join(columns.map((name) => sql.ref(name)));
    const values = sql.join(columns.map((name) => sql`value ->> ${sql.lit(name)}`));
    const source =
      kind === "postgres"
        ? sql`select ${names} from json_populate_recordset(null::audit, ${batch}::json)`
        : sql`select ${values} from json_each(${batch})`;
    await sql`insert into audit (${names}) ${source}`.execute(db);
  }

  #row(entry: AuditEntry): NewRow<"audit"> {
    const at = this.#world.now().getTime();
    return {
      // Ids that begin with the time keep new rows together on disk.
      id: newId(this.#world, `aud_${at.toString(36).padStart(9, "0")}`),
      at,
      event: entry.event,
      actor: entry.actor,
      owner_mode: entry.owner?.mode ?? null,
      owner_id: entry.owner?.id ?? null,
      upstream_id: entry.upstreamId ?? null,
      request_id: entry.requestId ?? null,
      detail_json: JSON.stringify(entry.detail ?? {}),
    };
  }
}
