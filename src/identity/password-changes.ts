import { type Hidden, type KeyedHash, newSecret, Problem, type Settings, type World } from "../base/index.ts";
import type { Database, Flows, Tx } from "../db/index.ts";
import { checkPassword, hashPassword, verifyPassword } from "./passwords.ts";
import type { Sessions } from "./sessions.ts";
import { toUser, type User } from "./user-rows.ts";
import { type AlsoUser, endSessions } from "./users.ts";

const LINK_MS = 24 * 60 * 60 * 1000;

export interface PasswordLink {
  url: string;
  /** Milliseconds since 1970. */
  expiresAt: number;
}

/** A dashboard session that was just started. */
export interface StartedSession {
  value: Hidden;
  maxAgeSeconds: number;
}

export interface PasswordChangesParts {
  database: Database;
  flows: Flows;
  hash: KeyedHash;
  settings: Settings;
  world: World;
  sessions: Sessions;
}

/** How a person comes to a password: by a one-time link that an administrator hands over, or by the present one. */
export class PasswordChanges {
  readonly #parts: PasswordChangesParts;

  constructor(parts: PasswordChangesParts) {
    this.#parts = parts;
  }

  /** A link valid for a day and once; earlier ones of the person end. Throws 409 while the account is switched off. */
  async link(tx: Tx, user: User): Promise<PasswordLink> {
    if (!user.isActive) {
      throw new Problem("conflict", "user_inactive", "This account is switched off. Switch it on first.");
    }
    const { flows, world, settings } = this.#parts;
    const token = newSecret(world);
    const owner = { mode: "user", id: user.id } as const;
    await flows.end(tx, { kind: "password", owner }, "replaced");
    const flow = await flows.start(tx, {
      kind: "password",
      handleHash: this.#hash(token),
      owner,
      data: {},
      ttlMs: LINK_MS,
    });
    const url = new URL("/password", settings.baseUrl);
    url.searchParams.set("token", token);
    return { url: url.href, expiresAt: flow.expiresAt };
  }

  /** Links of a person that was switched off or removed. */
  async endLinks(tx: Tx, userId: string): Promise<void> {
    await this.#parts.flows.end(tx, { kind: "password", owner: { mode: "user", id: userId } }, "revoked");
  }

  /** Whom this token would give a password; undefined when it is spent. */
  async personOf(token: string): Promise<User | undefined> {
    const { database, flows } = this.#parts;
    const state = await flows.peek(database.db, "password", { handleHash: this.#hash(token) });
    const id = state.state === "pending" ? state.flow.owner?.id : undefined;
    if (id === undefined) return undefined;
    const row = await database.db.selectFrom("users").selectAll().where("id", "=", id).executeTakeFirst();
    return row?.is_active === 1 ? toUser(row) : undefined;
  }

  /** Uses the link up, sets the password, signs the person out everywhere and in here; all or nothing. Throws 400, 410. */
  async finish(token: string, password: Hidden, also: AlsoUser): Promise<StartedSession> {
    const { database, flows, world } = this.#parts;
    checkPassword(password.reveal());
    const passwordHash = await hashPassword(password, world);
    return database.transaction(async (tx) => {
      const taken = await flows.take(tx, "password", { handleHash: this.#hash(token) }, "used");
      const id = taken?.owner?.id;
      const row =
        id === undefined
          ? undefined
          : await tx
              .updateTable("users")
              .set({ password_hash: passwordHash, updated_at: world.now().getTime() })
              .where("id", "=", id)
              .where("is_active", "=", 1)
              .returningAll()
              .executeTakeFirst();
      if (!row) throw spentPasswordLink();
      return this.#restart(tx, toUser(row), also);
    });
  }

  /** Throws 403 when `present` is not the person's password, 400 for a bad new one. Other sessions of the person end. */
  async change(userId: string, present: Hidden, next: Hidden, also: AlsoUser): Promise<StartedSession> {
    const { database, world } = this.#parts;
    checkPassword(next.reveal(), "new_password");
    const stored = await database.db
      .selectFrom("users")
      .select("password_hash")
      .where("id", "=", userId)
      .executeTakeFirst();
    if (!(await verifyPassword(present, stored?.password_hash ?? undefined))) throw wrongPassword();
    const passwordHash = await hashPassword(next, world);
    return database.transaction(async (tx) => {
      const row = await tx
        .updateTable("users")
        .set({ password_hash: passwordHash, updated_at: world.now().getTime() })
        .where("id", "=", userId)
        .where("is_active", "=", 1)
        // What was proved may have been changed since, for example by a recovery.
        .where("password_hash", "=", stored!.password_hash)
        .returningAll()
        .executeTakeFirst();
      if (!row) throw wrongPassword();
      return this.#restart(tx, toUser(row), also);
    });
  }

  /** Whoever knew the old password is out; links that would set another one end. */
  async #restart(tx: Tx, user: User, also: AlsoUser): Promise<StartedSession> {
    const { database, sessions, world } = this.#parts;
    await endSessions(tx, user.id);
    await this.endLinks(tx, user.id);
    await also(tx, user);
    const started = await sessions.start(user, tx);
    await database.changes.note(tx, "user", user.id, world.now().getTime());
    return started;
  }

  #hash(token: string): string {
    return this.#parts.hash.of("password_link", token);
  }
}

export function spentPasswordLink(): Problem {
  return new Problem(
    "gone",
    "password_link_spent",
    "This link has been used, replaced or has expired. Ask an administrator for a new one.",
  );
}

function wrongPassword(): Problem {
  return new Problem(
    "forbidden",
    "wrong_password",
    "This is not your present password. Check it and try again.",
    { param: "current_password" },
  );
}
