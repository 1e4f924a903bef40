import { sql } from "kysely";
import { Hidden, type KeyedHash, newId, newSecret, type Settings, type World } from "../base/index.ts";
import { type Database, type Db, deleteInBatches, type Tx } from "../db/index.ts";
import { cookieName, readCookie } from "../http/index.ts";
import type { User } from "./user-rows.ts";
import type { Users } from "./users.ts";

const IDLE_MS = 12 * 60 * 60 * 1000;
const ABSOLUTE_MS = 7 * 24 * 60 * 60 * 1000;
/** `last_seen_at` is only written when it is this old: reading pages must not write at every click. */
const TOUCH_MS = 60_000;

export interface SignedIn {
  sessionId: string;
  user: User;
}

/** Everybody signs in again: after a restore, sign-outs and changed passwords are unknown. Returns how many sessions ended. */
export async function endEverySession(tx: Tx): Promise<number> {
  const result = await tx.deleteFrom("dashboard_sessions").executeTakeFirst();
  return Number(result.numDeletedRows);
}

/** Dashboard sessions: a random value in a cookie, its keyed hash in the database, idle and absolute limits. */
export class Sessions {
  readonly #database: Database;
  readonly #world: World;
  readonly #hash: KeyedHash;
  readonly #settings: Settings;
  readonly #users: Users;

  constructor(parts: {
    database: Database;
    world: World;
    hash: KeyedHash;
    settings: Settings;
    users: Users;
  }) {
    this.#database = parts.database;
    this.#world = parts.world;
    this.#hash = parts.hash;
    this.#settings = parts.settings;
    this.#users = parts.users;
  }

  get cookieName(): string {
    return cookieName("session", this.#settings);
  }

  /** Always a new value: a session id known before the sign-in is worth nothing after it. */
  async start(
    user: Pick<User, "id">,
    db: Tx | Db = this.#database.db,
  ): Promise<{ value: Hidden; maxAgeSeconds: number }> {
    const value = newSecret(this.#world);
    const now = this.#world.now().getTime();
    await db
      .insertInto("dashboard_sessions")
      .values({
        id: newId(this.#world, "sess"),
        token_hash: this.#hash.of("session_cookie", value),
        user_id: user.id,
        created_at: now,
        last_seen_at: now,
        expires_at: now + ABSOLUTE_MS,
      })
      .execute();
    return { value: new Hidden(value), maxAgeSeconds: ABSOLUTE_MS / 1000 };
  }

  /** Who is signed in in this browser. */
  async of(request: Request): Promise<SignedIn | undefined> {
    const value = readCookie(request, this.cookieName);
    if (value === undefined) return undefined;
    const now = this.#world.now().getTime();
    const row = await this.#database.db
      .selectFrom("dashboard_sessions")
      .selectAll()
      .where("token_hash", "=", this.#hash.of("session_cookie", value))
      .where("expires_at", ">", now)
      .where("last_seen_at", ">", now - IDLE_MS)
      .executeTakeFirst();
    const user = row && (await this.#users.find(row.user_id));
    if (!row || !user?.isActive) return undefined;
    if (row.last_seen_at < now - TOUCH_MS) await this.#touch(row.id, now);
    return { sessionId: row.id, user };
  }

  /** Ends the session of this browser; true when there was one. */
  async end(request: Request): Promise<boolean> {
    const value = readCookie(request, this.cookieName);
    if (value === undefined) return false;
    const result = await this.#database.db
      .deleteFrom("dashboard_sessions")
      .where("token_hash", "=", this.#hash.of("session_cookie", value))
      .executeTakeFirst();
    return result.numDeletedRows > 0n;
  }

  /** Removes sessions past their limits. */
  async sweep(): Promise<void> {
    const now = this.#world.now().getTime();
    const where = sql<boolean>`expires_at <= ${now} or last_seen_at <= ${now - IDLE_MS}`;
    await deleteInBatches(this.#database, { table: "dashboard_sessions", key: "id", where });
  }

  async #touch(id: string, now: number): Promise<void> {
    await this.#database.db
      .updateTable("dashboard_sessions")
      .set({ last_seen_at: now })
      .where("id", "=", id)
      .execute();
  }
}
