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
      await this.#database.db.insertInto("audit").values(batch).execute();
      this.#waiting = this.#waiting.slice(batch.length);
    }
    if (this.#dropped > 0) {
      this.#world.log.error("audit.dropped", { entries: this.#dropped });
      this.#dropped = 0;
    }
  }

  #row(entry: AuditEntry): NewRow<"audit"> {
    return {
      id: newId(this.#world, "aud"),
      at: this.#world.now().getTime(),
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
