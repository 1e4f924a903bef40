import { type Hidden, type KeyedHash, newSecret, Problem, type Settings, type World } from "../base/index.ts";
import type { Database, FlowData, Flows, Tx } from "../db/index.ts";
import { digestOf, type LocalSignIn } from "./local-sign-in.ts";
import { PasswordPolicy } from "./password-policy.ts";
import { hashPassword, verifyPassword } from "./passwords.ts";
import { neverSignsIn, type Sessions, type SignedIn, type StartedSession } from "./sessions.ts";
import { toUser, type User } from "./user-rows.ts";
import type { AlsoUser } from "./users.ts";

const LINK_MS = 24 * 60 * 60 * 1000;

export interface PasswordLink {
  url: string;
  /** Milliseconds since 1970. */
  expiresAt: number;
}

export interface PasswordChangesParts {
  database: Database;
  flows: Flows;
  hash: KeyedHash;
  settings: Settings;
  world: World;
  sessions: Sessions;
  local: LocalSignIn;
}

/** What a recovery takes away, beside the password, when its link is used. */
export interface Recovery {
  /** One-time codes: the device that shows them is lost. */
  resetSecondFactor?: boolean;
  /** Passkeys: the device that holds them is lost, or they are somebody else's. */
  removePasskeys?: boolean;
}

/** Signed in, or waiting for the code that this person needs beside the password. */
export type Finished = { session: StartedSession } | { waiting: Hidden };

/** How a person comes to a password: by a one-time link that an administrator hands over, or by the present one. */
export class PasswordChanges {
  readonly #parts: PasswordChangesParts;
  readonly #policy: PasswordPolicy;

  constructor(parts: PasswordChangesParts) {
    this.#parts = parts;
    this.#policy = new PasswordPolicy(parts);
  }

  /** A link valid for a day and once; earlier ones of the person end. Throws 409 while the account is switched off. */
  async link(tx: Tx, user: User, recovery: Recovery = {}): Promise<PasswordLink> {
    if (!user.isActive) {
      throw new Problem("conflict", "user_inactive", "This account is switched off. Switch it on first.");
    }
    if (user.kind === "service") throw neverSignsIn();
    const { flows, world, settings } = this.#parts;
    const token = newSecret(world);
    const owner = { mode: "user", id: user.id } as const;
    await flows.end(tx, { kind: "password", owner }, "replaced");
    const flow = await flows.start(tx, {
      kind: "password",
      handleHash: this.#hash(token),
      owner,
      data: { ...recovery },
      ttlMs: LINK_MS,
    });
    const url = new URL("/password", settings.baseUrl);
    url.searchParams.set("token", token);
    return { url: url.href, expiresAt: flow.expiresAt };
  }

  /** Whatever would let a person in that has begun and not ended: of one that was switched off, removed or recovered. */
  async endLinks(tx: Tx, userId: string): Promise<void> {
    const owner = { mode: "user", id: userId } as const;
    for (const kind of ["password", "second_factor", "passkey", "sign_in"] as const)
      await this.#parts.flows.end(tx, { kind, owner }, "revoked");
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

  /**
   * Uses the link up, sets the password, signs the person out everywhere and in here; all or nothing. Who has one-time codes
   * needs one here too, unless the link takes them away. Throws 400, 410.
   */
  async finish(token: string, password: Hidden, request: Request, also: AlsoUser): Promise<Finished> {
    const { database, flows, local, sessions, world } = this.#parts;
    const person = await this.personOf(token);
    if (!person) throw spentPasswordLink();
    await this.#policy.check(password, person);
    const passwordHash = await hashPassword(password, world);
    return database.transaction(async (tx): Promise<Finished> => {
      const taken = await flows.take<Recovery & FlowData>(
        tx,
        "password",
        { handleHash: this.#hash(token) },
        "used",
      );
      const user = taken?.owner && (await this.#set(tx, taken.owner.id, passwordHash));
      if (!user) throw spentPasswordLink();
      await this.#recover(tx, user, taken.data, also);
      if (!(await local.totp.isOn(user.id, tx)))
        return { session: await sessions.start(user, tx, { method: "link", request }) };
      const waiting = { returnTo: "/", method: "link", digest: digestOf(passwordHash) } as const;
      return { waiting: await local.waitForCode(tx, user.id, waiting) };
    });
  }

  /**
   * Throws 401 when the session has ended meanwhile, 403 when `present` is not the person's password, 400 for a bad new one.
   * Other sessions of the person end; this one goes on under a new value, and is no fresher than it was.
   */
  async change(
    current: SignedIn,
    { present, next }: { present: Hidden; next: Hidden },
    also: AlsoUser,
  ): Promise<StartedSession> {
    const { database, sessions, world } = this.#parts;
    const { user: person, sessionId } = current;
    const stored = await database.db
      .selectFrom("users")
      .select("password_hash")
      .where("id", "=", person.id)
      .executeTakeFirst();
    if (!(await verifyPassword(present, stored?.password_hash ?? undefined))) throw wrongPassword();
    await this.#policy.check(next, person, "new_password");
    const passwordHash = await hashPassword(next, world);
    return database.transaction(async (tx) => {
      // What was proved may have been changed since, for example by a recovery.
      const user = await this.#set(tx, person.id, passwordHash, stored!.password_hash!);
      if (!user) throw wrongPassword();
      const renewed = await sessions.renew(tx, sessionId);
      await this.#restart(tx, user, also, sessionId);
      return renewed;
    });
  }

  /** A password for somebody who has none and signed in another way a moment ago. Throws 400, 409 `has_password`. */
  async choose(user: User, next: Hidden, also: AlsoUser): Promise<void> {
    const { database, world } = this.#parts;
    await this.#policy.check(next, user, "new_password");
    const passwordHash = await hashPassword(next, world);
    await database.transaction(async (tx) => {
      const row = await tx
        .updateTable("users")
        .set({ password_hash: passwordHash, updated_at: world.now().getTime() })
        .where("id", "=", user.id)
        .where("password_hash", "is", null)
        .where("kind", "=", "person")
        .returning("id")
        .executeTakeFirst();
      if (!row)
        throw new Problem(
          "conflict",
          "has_password",
          "You have a password already. Change it with the present one.",
        );
      await also(tx, user);
      await database.changes.note(tx, "user", user.id, world.now().getTime());
    });
  }

  async #set(tx: Tx, userId: string, next: string, present?: string): Promise<User | undefined> {
    const row = await tx
      .updateTable("users")
      .set({ password_hash: next, updated_at: this.#parts.world.now().getTime() })
      .where("id", "=", userId)
      .where("is_active", "=", 1)
      .where("kind", "=", "person")
      .$if(present !== undefined, (query) => query.where("password_hash", "=", present!))
      .returningAll()
      .executeTakeFirst();
    return row && toUser(row);
  }

  async #recover(tx: Tx, user: User, recovery: Recovery, also: AlsoUser): Promise<void> {
    const { totp, passkeys } = this.#parts.local;
    if (recovery.resetSecondFactor) await totp.remove(tx, user.id);
    if (recovery.removePasskeys) await passkeys.removeAll(tx, user.id);
    await this.#restart(tx, user, also);
  }

  /** Whoever knew the old password is out; links that would set another one end. */
  async #restart(tx: Tx, user: User, also: AlsoUser, except?: string): Promise<void> {
    const { database, sessions, world } = this.#parts;
    await sessions.endAll(tx, user.id, except);
    await this.endLinks(tx, user.id);
    await also(tx, user);
    await database.changes.note(tx, "user", user.id, world.now().getTime());
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
