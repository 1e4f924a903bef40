import { sql } from "kysely";
import {
  Hidden,
  type KeyedHash,
  newId,
  newSecret,
  Problem,
  type Seal,
  type SealContext,
  type Settings,
  type World,
} from "../base/index.ts";
import { type Database, type Db, deleteInBatches, type Row, type Tx } from "../db/index.ts";
import { cookie, cookieName, readCookie } from "../http/index.ts";
import type { User } from "./user-rows.ts";
import type { Users } from "./users.ts";

/** `last_seen_at` is only written when it is this old: reading pages must not write at every click. */
const TOUCH_MS = 60_000;
/** For so long after a sign-in a person may change how they sign in. */
const FRESH_MS = 10 * 60_000;
const MAX_AGENT = 256;

/** How a person proved who they are. */
export type SignInMethod = "password" | "password+totp" | "passkey" | "link" | "sso";

/** What is kept of a sign-in. Of one at a provider also what its log-out names. */
export interface SignIn {
  method?: SignInMethod;
  /** The request it came by: the session of its browser so far ends, and the browser is named as it names itself. */
  request?: Request;
  /** `sso:<id>`. */
  provider?: string;
  providerSubject?: string;
  providerSession?: string;
  idToken?: Hidden;
}

/** A dashboard session that was just started. */
export interface StartedSession {
  value: Hidden;
  maxAgeSeconds: number;
}

export interface SignedIn {
  sessionId: string;
  user: User;
  method: SignInMethod;
  /** Milliseconds since 1970. */
  startedAt: number;
}

/** One of a person's, as they see it. Times in milliseconds since 1970. */
export interface OpenSession {
  id: string;
  method: SignInMethod;
  /** What the browser called itself. */
  agent?: string;
  startedAt: number;
  lastSeenAt: number;
  expiresAt: number;
}

/** What a provider's log-out must be told of a session that has ended. */
export interface EndedSession {
  userId: string;
  provider?: string;
  providerSubject?: string;
  providerSession?: string;
  idToken?: Hidden;
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
  readonly #seal: Seal;
  readonly #settings: Settings;
  readonly #users: Users;

  constructor(parts: {
    database: Database;
    world: World;
    hash: KeyedHash;
    seal: Seal;
    settings: Settings;
    users: Users;
  }) {
    this.#database = parts.database;
    this.#world = parts.world;
    this.#hash = parts.hash;
    this.#seal = parts.seal;
    this.#settings = parts.settings;
    this.#users = parts.users;
  }

  get cookieName(): string {
    return cookieName("session", this.#settings);
  }

  /** The `Set-Cookie` of a session that was started. */
  cookie({ value, maxAgeSeconds }: StartedSession): [string, string] {
    return cookie(this.cookieName, value.reveal(), maxAgeSeconds, this.#settings);
  }

  /**
   * Always a new value: a session id known before the sign-in is worth nothing after it, and the one before it in the same
   * browser ends (AD-04). Throws 403 `service_account` for a machine's identity.
   */
  async start(
    user: Pick<User, "id"> & Partial<Pick<User, "kind">>,
    db: Tx | Db = this.#database.db,
    how: SignIn = {},
  ): Promise<StartedSession> {
    if (user.kind === "service") throw neverSignsIn();
    const value = newSecret(this.#world);
    const id = newId(this.#world, "sess");
    const now = this.#world.now().getTime();
    const maxMs = this.#settings.sessionMaxMs;
    if (how.request) await this.#endIn(how.request, db);
    await db
      .insertInto("dashboard_sessions")
      .values({
        id,
        token_hash: this.#hash.of("session_cookie", value),
        user_id: user.id,
        created_at: now,
        last_seen_at: now,
        expires_at: now + maxMs,
        method: how.method ?? "password",
        agent: how.request?.headers.get("user-agent")?.slice(0, MAX_AGENT) ?? null,
        provider: how.provider ?? null,
        provider_subject: how.providerSubject ?? null,
        provider_session: how.providerSession ?? null,
        sealed: how.idToken ? this.#seal.seal(how.idToken.reveal(), context(id, user.id)) : null,
      })
      .execute();
    return { value: new Hidden(value), maxAgeSeconds: maxMs / 1000 };
  }

  /**
   * The same session under a new value, no fresher than it was: what its provider ends, ends it still. Throws 401
   * `authentication_required` when it has ended.
   */
  async renew(tx: Tx, id: string): Promise<StartedSession> {
    const value = newSecret(this.#world);
    const now = this.#world.now().getTime();
    const row = await tx
      .updateTable("dashboard_sessions")
      .set({ token_hash: this.#hash.of("session_cookie", value), last_seen_at: now })
      .where("id", "=", id)
      .returning("expires_at")
      .executeTakeFirst();
    if (!row) throw signInFirst();
    return { value: new Hidden(value), maxAgeSeconds: (row.expires_at - now) / 1000 };
  }

  /** Who is signed in in this browser. */
  async of(request: Request): Promise<SignedIn | undefined> {
    const value = readCookie(request, this.cookieName);
    if (value === undefined) return undefined;
    const now = this.#world.now().getTime();
    const row = await this.#counting()
      .where("token_hash", "=", this.#hash.of("session_cookie", value))
      .executeTakeFirst();
    const user = row && (await this.#users.find(row.user_id));
    if (!row || !user?.isActive || user.kind === "service") return undefined;
    if (row.last_seen_at < now - TOUCH_MS) await this.#touch(row.id, now);
    return { sessionId: row.id, user, method: row.method as SignInMethod, startedAt: row.created_at };
  }

  /**
   * Who signed in in this browser a moment ago: what changes how somebody signs in asks for this, so that a session that was
   * left open, or stolen, does not become an account that was. Throws 401 `authentication_required`, 403 `sign_in_again`.
   */
  async fresh(request: Request): Promise<SignedIn> {
    const signedIn = await this.of(request);
    if (!signedIn) throw signInFirst();
    if (this.isFresh(signedIn)) return signedIn;
    throw new Problem(
      "forbidden",
      "sign_in_again",
      "Sign in again to change this: your last sign-in was more than ten minutes ago.",
    );
  }

  isFresh({ startedAt }: Pick<SignedIn, "startedAt">): boolean {
    return startedAt > this.#world.now().getTime() - FRESH_MS;
  }

  /** Ends the session of this browser; undefined when there was none. */
  async end(request: Request): Promise<EndedSession | undefined> {
    const row = await this.#endIn(request, this.#database.db);
    return row && this.#ended(row);
  }

  /**
   * Ends what a provider says has ended: the session it names, or all of its subject. Returns whose they were
   * (OIDC Back-Channel Logout 1.0 §2.7).
   */
  async endOfProvider(
    tx: Tx,
    { provider, subject, session }: { provider: string; subject?: string; session?: string },
  ): Promise<string[]> {
    if (subject === undefined && session === undefined) return [];
    const rows = await tx
      .deleteFrom("dashboard_sessions")
      .where("provider", "=", provider)
      .$if(subject !== undefined, (query) => query.where("provider_subject", "=", subject!))
      .$if(session !== undefined, (query) => query.where("provider_session", "=", session!))
      .returning("user_id")
      .execute();
    return [...new Set(rows.map((row) => row.user_id))];
  }

  /** Those of a person that still count, the last used first. */
  async list(userId: string): Promise<OpenSession[]> {
    const rows = await this.#counting()
      .where("user_id", "=", userId)
      .orderBy("last_seen_at", "desc")
      .orderBy("id")
      .execute();
    return rows.map((row) => ({
      id: row.id,
      method: row.method as SignInMethod,
      agent: row.agent ?? undefined,
      startedAt: row.created_at,
      lastSeenAt: row.last_seen_at,
      expiresAt: row.expires_at,
    }));
  }

  /** Ends one of a person's. Throws 404. */
  async endOne(tx: Tx, userId: string, id: string): Promise<void> {
    const result = await tx
      .deleteFrom("dashboard_sessions")
      .where("id", "=", id)
      .where("user_id", "=", userId)
      .executeTakeFirst();
    if (result.numDeletedRows > 0n) return;
    throw new Problem(
      "not_found",
      "browser_session_not_found",
      "You have no such session. It may have ended already.",
    );
  }

  /** Ends a person's, all or all but one; how many. */
  async endAll(tx: Tx, userId: string, except?: string): Promise<number> {
    const result = await tx
      .deleteFrom("dashboard_sessions")
      .where("user_id", "=", userId)
      .$if(except !== undefined, (query) => query.where("id", "!=", except!))
      .executeTakeFirst();
    return Number(result.numDeletedRows);
  }

  /** Removes sessions past their limits. */
  async sweep(): Promise<void> {
    const now = this.#world.now().getTime();
    const { sessionIdleMs, sessionMaxMs } = this.#settings;
    const where = sql<boolean>`expires_at <= ${now} or created_at <= ${now - sessionMaxMs}
      or last_seen_at <= ${now - sessionIdleMs}`;
    await deleteInBatches(this.#database, { table: "dashboard_sessions", key: "id", where });
  }

  #counting() {
    const now = this.#world.now().getTime();
    return (
      this.#database.db
        .selectFrom("dashboard_sessions")
        .selectAll()
        .where("expires_at", ">", now)
        // Settings may have become stricter since it began.
        .where("created_at", ">", now - this.#settings.sessionMaxMs)
        .where("last_seen_at", ">", now - this.#settings.sessionIdleMs)
    );
  }

  async #endIn(request: Request, db: Db | Tx): Promise<Row<"dashboard_sessions"> | undefined> {
    const value = readCookie(request, this.cookieName);
    if (value === undefined) return undefined;
    return db
      .deleteFrom("dashboard_sessions")
      .where("token_hash", "=", this.#hash.of("session_cookie", value))
      .returningAll()
      .executeTakeFirst();
  }

  #ended(row: Row<"dashboard_sessions">): EndedSession {
    return {
      userId: row.user_id,
      provider: row.provider ?? undefined,
      providerSubject: row.provider_subject ?? undefined,
      providerSession: row.provider_session ?? undefined,
      idToken: row.sealed
        ? new Hidden(this.#seal.openText(row.sealed, context(row.id, row.user_id)))
        : undefined,
    };
  }

  async #touch(id: string, now: number): Promise<void> {
    await this.#database.db
      .updateTable("dashboard_sessions")
      .set({ last_seen_at: now })
      .where("id", "=", id)
      .execute();
  }
}

function context(id: string, userId: string): SealContext {
  return ["dashboard_sessions", id, userId];
}

function signInFirst(): Problem {
  return new Problem("unauthenticated", "authentication_required", "Sign in first.");
}

/** Whoever is not a person. */
export function neverSignsIn(): Problem {
  return new Problem(
    "forbidden",
    "service_account",
    "This is a machine's account. It never signs in; use one of its virtual keys.",
  );
}
