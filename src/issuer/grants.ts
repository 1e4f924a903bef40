import { sql } from "kysely";
import { type Owner, Problem, type Settings, type World } from "../base/index.ts";
import type { Database, Db, Flows, Row, Tx } from "../db/index.ts";
import { likeLiteral } from "../http/index.ts";
import type { IssuerParts } from "./parts.ts";
import { slugOf } from "./resource.ts";

export interface NewGrant {
  id: string;
  clientRowId: string;
  clientName: string;
  owner: Owner;
  virtualKeyId?: string;
  browserHash?: string;
  redirectUri: string;
  scope: string;
  resource: string;
}

/** Why a grant ends, for the audit line. */
export interface Ending {
  event:
    | "grant.revoked"
    | "grant.expired"
    | "grant.not_redeemed"
    | "grant.code_replayed"
    | "grant.refresh_reused"
    | "grant.code_refused";
  actor: string;
  requestId?: string;
}

type Parts = Pick<IssuerParts, "world" | "database" | "flows" | "settings" | "vault" | "audit">;

/** What people allowed: one row per consent, with the tokens and, for sessions, the credentials that hang on it. */
export class Grants {
  readonly #parts: Parts;
  readonly #world: World;
  readonly #database: Database;
  readonly #flows: Flows;
  readonly #settings: Settings;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#world = parts.world;
    this.#database = parts.database;
    this.#flows = parts.flows;
    this.#settings = parts.settings;
  }

  /** Pending until the code is exchanged: nothing usable exists before that (PK-15). */
  async create(tx: Tx, grant: NewGrant): Promise<{ endsAt: number }> {
    const now = this.#world.now().getTime();
    const { accessTokenMs, grantIdleMs, grantMaxMs } = this.#settings;
    const endsAt = now + (grantMaxMs > 0 ? grantMaxMs : accessTokenMs);
    const idleUntil = Math.min(now + grantIdleMs, endsAt);
    const row = { ...newRow(grant, now), status: "pending", idle_until: idleUntil, ends_at: endsAt } as const;
    await tx.insertInto("grants").values(row).execute();
    return { endsAt };
  }

  /** Active at once, until `endsAt` (milliseconds) whether used or not: its client waits for the answer. */
  createActive(tx: Tx, grant: NewGrant, endsAt: number): Promise<Row<"grants">> {
    const now = this.#world.now().getTime();
    const ends = { last_used_at: now, idle_until: endsAt, ends_at: endsAt };
    const row = { ...newRow(grant, now), status: "active", ...ends } as const;
    return tx.insertInto("grants").values(row).returningAll().executeTakeFirstOrThrow();
  }

  find(db: Db | Tx, id: string): Promise<Row<"grants"> | undefined> {
    return db.selectFrom("grants").selectAll().where("id", "=", id).executeTakeFirst();
  }

  /**
   * Ends a grant with its code, its tokens and, when it is its own identity, its credentials. With `status`, only a grant
   * that still has it. False: there was none. Flows go first: a code's exchange locks code, then grant.
   */
  async end(tx: Tx, id: string, ending: Ending, status?: "pending"): Promise<boolean> {
    await this.#flows.end(tx, { parentId: id }, "grant_ended");
    this.#world.reach("end.1.flows_ended");
    const row = await tx
      .deleteFrom("grants")
      .where("id", "=", id)
      .$if(status !== undefined, (query) => query.where("status", "=", status!))
      .returningAll()
      .executeTakeFirst();
    if (!row) return false;
    this.#world.reach("end.2.grant_deleted");
    const owner: Owner = { mode: row.owner_mode, id: row.owner_id };
    // Contract section 2: a session grant's credentials go with the grant.
    if (owner.mode === "session") await this.#parts.vault.dropOwner(tx, owner);
    this.#world.reach("end.3.credentials_dropped");
    const detail = { grant_id: id, client: row.client_name };
    await this.#parts.audit.append(tx, { ...ending, owner, detail });
    this.#world.reach("end.4.audited");
    await this.#database.changes.note(tx, "grant", id, this.#world.now().getTime());
    return true;
  }

  /** Ends all grants of an identity, a key, a client or a virtual MCP, in the transaction that removes it. */
  async endAllOf(
    tx: Tx,
    whose: { virtualKeyId: string } | { owner: Owner } | { clientRowId: string } | { slug: string },
    ending: Ending,
  ): Promise<number> {
    const query = tx.selectFrom("grants").select("id").orderBy("id");
    if ("slug" in whose) {
      // By the end of it: the base URL may have changed since.
      const end = `%/mcp/${likeLiteral(whose.slug)}`;
      const rows = await query
        .select("resource")
        .where(sql<boolean>`resource like ${end} escape '\\'`)
        .execute();
      const hit = rows.filter(({ resource }) => slugOf(resource) === whose.slug);
      for (const { id } of hit) await this.end(tx, id, ending);
      return hit.length;
    }
    const rows = await ("virtualKeyId" in whose
      ? query.where("virtual_key_id", "=", whose.virtualKeyId)
      : "clientRowId" in whose
        ? query.where("client_row_id", "=", whose.clientRowId)
        : query.where("owner_mode", "=", whose.owner.mode).where("owner_id", "=", whose.owner.id)
    ).execute();
    for (const { id } of rows) await this.end(tx, id, ending);
    return rows.length;
  }

  /** Whether the grant may go on: not past its end, and used within the idle time. `now`: milliseconds. */
  isAlive(grant: Row<"grants">, now: number): boolean {
    const idleEnd = Math.max(grant.idle_until, (grant.last_used_at ?? 0) + this.#settings.grantIdleMs);
    return now < grant.ends_at && now < idleEnd;
  }
}

function newRow(grant: NewGrant, now: number) {
  return {
    id: grant.id,
    client_row_id: grant.clientRowId,
    client_name: grant.clientName,
    owner_mode: grant.owner.mode,
    owner_id: grant.owner.id,
    virtual_key_id: grant.virtualKeyId ?? null,
    browser_hash: grant.browserHash ?? null,
    redirect_uri: grant.redirectUri,
    scope: grant.scope,
    resource: grant.resource,
    upstreams_json: null,
    created_at: now,
    last_used_at: null,
  };
}

export function clientGone(): Problem {
  return new Problem(
    "conflict",
    "client_gone",
    "This client was removed meanwhile. Register it again and start over.",
  );
}
