import { Hidden, type KeyedHash, newId, newSecret, Problem, type World } from "../base/index.ts";
import type { Database, Db, Row, Tx } from "../db/index.ts";
import type { Scope } from "./scopes.ts";
import type { Role } from "./user-rows.ts";

/** A management API token without its value, which is stored nowhere. Times in milliseconds since 1970. */
export interface ApiToken {
  id: string;
  name: string;
  /** The last four characters of the value. */
  tail: string;
  /** Whose it is; undefined for one made with POSTERN_ADMIN_TOKEN. */
  userId?: string;
  /** The most it can be; its owner's role at the time of a call caps it. */
  role: Role;
  scopes: readonly string[];
  expiresAt?: number;
  lastUsedAt?: number;
  createdAt: number;
}

export interface NewApiToken {
  name: string;
  userId?: string;
  role: Role;
  scopes: readonly Scope[];
  expiresAt?: number;
}

/** Work of the caller that belongs into the same transaction (its audit line). */
export type AlsoToken = (tx: Tx, token: ApiToken) => Promise<void>;

const TAIL = 4;
/** `last_used_at` is only written when it is this old: a script's every call must not write. */
const TOUCH_MS = 60_000;

/** The `pst_…` tokens of `/api`, kept as keyed hashes and looked up at every call: dead at once on every replica. */
export class ApiTokens {
  readonly #database: Database;
  readonly #world: World;
  readonly #hash: KeyedHash;

  constructor(parts: { database: Database; world: World; hash: KeyedHash }) {
    this.#database = parts.database;
    this.#world = parts.world;
    this.#hash = parts.hash;
  }

  /** The token a value is, with the role that counts now; undefined when unknown, expired, or its owner may not act. */
  async authenticate(value: string): Promise<ApiToken | undefined> {
    const now = this.#now();
    const row = await this.#database.db
      .selectFrom("api_tokens")
      .leftJoin("users", "users.id", "api_tokens.user_id")
      .selectAll("api_tokens")
      .select(["users.is_active as owner_active", "users.role as owner_role"])
      .where("token_hash", "=", this.#hash.of("api_token", value))
      .executeTakeFirst();
    if (!row || (row.expires_at !== null && row.expires_at <= now)) return undefined;
    if (row.user_id !== null && row.owner_active !== 1) return undefined;
    if ((row.last_used_at ?? 0) < now - TOUCH_MS) await this.#touch(row.id, now);
    return { ...toToken(row), role: row.owner_role === "member" ? "member" : row.role };
  }

  /** The value is in the answer and nowhere else. */
  async create(token: NewApiToken, also: AlsoToken): Promise<{ token: ApiToken; value: Hidden }> {
    const value = newSecret(this.#world, "pst_");
    const columns = {
      id: newId(this.#world, "token"),
      name: token.name,
      token_hash: this.#hash.of("api_token", value),
      token_tail: value.slice(-TAIL),
      user_id: token.userId ?? null,
      role: token.role,
      scopes_json: JSON.stringify(token.scopes),
      expires_at: token.expiresAt ?? null,
      last_used_at: null,
      created_at: this.#now(),
    };
    const row = await this.#database.transaction(async (tx) => {
      const made = await tx.insertInto("api_tokens").values(columns).returningAll().executeTakeFirstOrThrow();
      await also(tx, toToken(made));
      return made;
    });
    return { token: toToken(row), value: new Hidden(value) };
  }

  /** Newest first; `userId` leaves only that person's. */
  async list(filter: {
    userId?: string;
    limit: number;
    offset: number;
  }): Promise<{ tokens: ApiToken[]; total: number }> {
    const { db } = this.#database;
    const rows = await matching(db, filter.userId)
      .selectAll()
      .orderBy("created_at", "desc")
      .orderBy("id", "desc")
      .limit(filter.limit)
      .offset(filter.offset)
      .execute();
    const { count } = await matching(db, filter.userId)
      .select((expression) => expression.fn.countAll<number>().as("count"))
      .executeTakeFirstOrThrow();
    return { tokens: rows.map(toToken), total: Number(count) };
  }

  /** Throws 404, also for another's when `userId` says whose may go. */
  async delete(id: string, userId: string | undefined, also: AlsoToken): Promise<void> {
    await this.#database.transaction(async (tx) => {
      const row = await tx
        .deleteFrom("api_tokens")
        .where("id", "=", id)
        .$if(userId !== undefined, (query) => query.where("user_id", "=", userId!))
        .returningAll()
        .executeTakeFirst();
      if (!row) {
        throw new Problem(
          "not_found",
          "token_not_found",
          "There is no such token. List them to find its id.",
        );
      }
      await also(tx, toToken(row));
    });
  }

  async #touch(id: string, now: number): Promise<void> {
    await this.#database.db
      .updateTable("api_tokens")
      .set({ last_used_at: now })
      .where("id", "=", id)
      .execute();
  }

  #now(): number {
    return this.#world.now().getTime();
  }
}

function matching(db: Db, userId: string | undefined) {
  return db
    .selectFrom("api_tokens")
    .$if(userId !== undefined, (query) => query.where("user_id", "=", userId!));
}

function toToken(row: Row<"api_tokens">): ApiToken {
  return {
    id: row.id,
    name: row.name,
    tail: row.token_tail,
    userId: row.user_id ?? undefined,
    role: row.role,
    scopes: JSON.parse(row.scopes_json) as string[],
    expiresAt: row.expires_at ?? undefined,
    lastUsedAt: row.last_used_at ?? undefined,
    createdAt: row.created_at,
  };
}
