import { type Owner, Serials, type World } from "../base/index.ts";
import type { Database, NewRow, Tx, Values } from "../db/index.ts";
import { auditIdAt } from "./audit-query.ts";

export interface AuditEntry {
  /** `domain.past_tense`. */
  event: string;
  /** `user:…`, `user:…/token:…`, `token:…`, `vk:…`, `admin_token`, `client:…`, `system`. */
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

/** A few minutes of calls, some ten megabytes. */
const MAX_WAITING = 50_000;
const BATCH = 200;

export class Audit {
  readonly #database: Pick<Database, "insertMany">;
  readonly #world: World;
  readonly #serials: Serials;
  #waiting: Values[] = [];
  /** The beginning of ids made in one millisecond. */
  #idAt = { at: Number.NaN, beginning: "" };
  #dropped = 0;

  constructor(parts: { database: Pick<Database, "insertMany">; world: World }) {
    this.#database = parts.database;
    this.#world = parts.world;
    this.#serials = new Serials(parts.world, "");
  }

  /** With a transaction: written in it. Without: written by the next `flush`. */
  async append(tx: Tx | undefined, entry: AuditEntry): Promise<void> {
    if (!tx) return this.note(entry);
    const row = this.#row(entry);
    const values = Object.fromEntries(
      columns.map((name, at) => [name, row[at]]),
    ) as unknown as NewRow<"audit">;
    await tx.insertInto("audit").values(values).execute();
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
      await this.#database.insertMany("audit", columns, batch);
      this.#waiting = this.#waiting.slice(batch.length);
    }
    if (this.#dropped > 0) {
      this.#world.log.error("audit.dropped", { entries: this.#dropped });
      this.#dropped = 0;
    }
  }

  /** In the order of `columns`. */
  #row({ event, actor, owner, upstreamId, requestId, detail }: AuditEntry): Values {
    const at = this.#world.now().getTime();
    if (this.#idAt.at !== at) this.#idAt = { at, beginning: auditIdAt(at) };
    return [
      // Ids that begin with the time keep new rows together on disk.
      this.#idAt.beginning + this.#serials.next(),
      at,
      event,
      actor,
      owner?.mode ?? null,
      owner?.id ?? null,
      upstreamId ?? null,
      requestId ?? null,
      detail ? JSON.stringify(detail) : "{}",
    ];
  }
}
