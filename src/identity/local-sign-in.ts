import { Hidden, newSecret, sha256 } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { GuessLimits, type GuessLimitsParts } from "./guess-limits.ts";
import { Passkeys, type PasskeysParts } from "./passkeys.ts";
import { verifyPassword } from "./passwords.ts";
import type { SignInMethod } from "./sessions.ts";
import { Totp, type TotpParts } from "./totp.ts";
import { toUser, type User } from "./user-rows.ts";
import { normalEmail } from "./users.ts";

/** For typing a code after the password. */
const CODE_MS = 5 * 60_000;
/** Of one proved password; after that it has to be proved again. */
const MAX_TRIES = 5;

export type LocalSignInParts = TotpParts & GuessLimitsParts & PasskeysParts;

export interface PasswordAttempt {
  email: string;
  password: Hidden;
  /** A one-time code, where the caller knew that one is needed. */
  code?: string;
  /** Where the person wants to go: a code that is needed is waited for, and asked of this browser. */
  returnTo?: string;
  address: string;
  request: Request;
}

/** What to do for somebody who has proved who they are, in the transaction that makes sure of it. */
export type Admit<T> = (tx: Tx, user: User, method: SignInMethod) => Promise<T>;

export type SignInOutcome<T> =
  | { outcome: "signed_in"; admitted: T; user: User }
  /** Unknown account, wrong password, no password, switched off: all the same from outside. */
  | { outcome: "wrong_password"; userId?: string }
  /** The password is right and a code is missing, or the one that came is wrong. */
  | { outcome: "code_required"; token?: Hidden }
  | { outcome: "wrong_code"; userId: string };

/** `ended`: expired, used, given up after too many tries, or no longer what was proved. */
export type CodeOutcome<T> =
  | { outcome: "signed_in"; admitted: T; user: User; returnTo: string }
  | { outcome: "wrong_code"; userId: string }
  | { outcome: "ended" };

interface Waiting extends Record<string, unknown> {
  returnTo: string;
  tries: number;
  method: SignInMethod;
  /** Of what is stored of the password that was proved: it may be another one by the time the code comes. */
  digest: string;
}

/**
 * Sign-in with what this gateway keeps itself: passwords, one-time codes, passkeys. Nobody is signed in before everything
 * that is asked for was proved (CB-28): what waits for a code is a flow, and no session.
 */
export class LocalSignIn {
  readonly totp: Totp;
  readonly passkeys: Passkeys;
  readonly guesses: GuessLimits;
  readonly #parts: LocalSignInParts;

  constructor(parts: LocalSignInParts) {
    this.#parts = parts;
    this.totp = new Totp(parts);
    this.passkeys = new Passkeys(parts);
    this.guesses = new GuessLimits(parts);
  }

  /** Unknown account and wrong password take the same time; whether a code is needed is told to nobody but who has the password. Throws 429. */
  async byPassword<T>(attempt: PasswordAttempt, admit: Admit<T>): Promise<SignInOutcome<T>> {
    const { database } = this.#parts;
    const email = normalEmail(attempt.email);
    const refund = this.guesses.password({ ...attempt, email });
    const row = await database.db
      .selectFrom("users")
      .selectAll()
      .where("email", "=", email)
      .executeTakeFirst();
    const proved = await verifyPassword(attempt.password, row?.password_hash ?? undefined);
    if (!row || !proved || row.is_active !== 1 || row.kind === "service")
      return { outcome: "wrong_password" };
    refund();
    const digest = digestOf(row.password_hash!);
    const { code, returnTo } = attempt;
    const refundCode = code === undefined ? undefined : this.guesses.code({ ...attempt, email });
    const done = await database.transaction(async (tx): Promise<SignInOutcome<T>> => {
      const user = await this.#still(tx, row.id, digest);
      if (!user) return { outcome: "wrong_password" };
      if (!(await this.totp.isOn(user.id, tx)))
        return { outcome: "signed_in", admitted: await admit(tx, user, "password"), user };
      if (code === undefined) {
        if (returnTo === undefined) return { outcome: "code_required" };
        const token = await this.waitForCode(tx, user.id, { returnTo, method: "password+totp", digest });
        return { outcome: "code_required", token };
      }
      if (!(await this.totp.spend(tx, user.id, code))) return { outcome: "wrong_code", userId: user.id };
      return { outcome: "signed_in", admitted: await admit(tx, user, "password+totp"), user };
    });
    if (done.outcome === "signed_in") refundCode?.();
    return done;
  }

  /** Waits for the code of somebody whose password is proved; the value is for the cookie of this browser. */
  async waitForCode(
    tx: Tx,
    userId: string,
    waiting: { returnTo: string; method: SignInMethod; digest: string },
  ): Promise<Hidden> {
    const { flows, world } = this.#parts;
    const token = newSecret(world);
    const data: Waiting = { ...waiting, tries: 0 };
    await flows.start(tx, {
      kind: "second_factor",
      handleHash: this.#handle(token),
      owner: { mode: "user", id: userId },
      data,
      ttlMs: CODE_MS,
    });
    return new Hidden(token);
  }

  /** Whose code this browser's page waits for; undefined when that is over. */
  async waiting(token: string): Promise<User | undefined> {
    const { database, flows } = this.#parts;
    const state = await flows.peek(database.db, "second_factor", { handleHash: this.#handle(token) });
    const id = state.state === "pending" ? state.flow.owner?.id : undefined;
    return id === undefined ? undefined : this.#parts.users.find(id);
  }

  /** The code of who was waited for. Throws 429. */
  async byCode<T>(
    token: string,
    attempt: { code: string; request: Request },
    admit: Admit<T>,
  ): Promise<CodeOutcome<T>> {
    const person = await this.waiting(token);
    if (!person) return { outcome: "ended" };
    const refund = this.guesses.code({ email: person.email, request: attempt.request });
    const done = await this.#parts.database.transaction((tx) => this.#finish(tx, token, attempt.code, admit));
    if (done.outcome === "signed_in") refund();
    return done;
  }

  async #finish<T>(tx: Tx, token: string, code: string, admit: Admit<T>): Promise<CodeOutcome<T>> {
    const { flows } = this.#parts;
    const key = { handleHash: this.#handle(token) };
    const state = await flows.peek<Waiting>(tx, "second_factor", key);
    if (state.state !== "pending") return { outcome: "ended" };
    const { flow } = state;
    const { tries, returnTo, method, digest } = flow.data;
    // Counted before it is looked at: of guesses that come at once, one at most is judged at a time.
    if (tries >= MAX_TRIES || !(await flows.update(tx, flow, { ...flow.data, tries: tries + 1 })))
      return { outcome: "ended" };
    const user = await this.#still(tx, flow.owner!.id, digest);
    if (!user) return { outcome: "ended" };
    if (!(await this.totp.spend(tx, user.id, code))) return { outcome: "wrong_code", userId: user.id };
    if (!(await flows.take(tx, "second_factor", key, "used"))) return { outcome: "ended" };
    return { outcome: "signed_in", admitted: await admit(tx, user, method), user, returnTo };
  }

  /** The person, if the password that was proved is theirs still; nobody changes it before the transaction has ended. */
  async #still(tx: Tx, userId: string, digest: string): Promise<User | undefined> {
    const row = await tx
      .updateTable("users")
      .set((user) => ({ updated_at: user.ref("updated_at") }))
      .where("id", "=", userId)
      .where("is_active", "=", 1)
      .returningAll()
      .executeTakeFirst();
    return row?.password_hash && digestOf(row.password_hash) === digest ? toUser(row) : undefined;
  }

  #handle(token: string): string {
    return this.#parts.hash.of("second_factor", token);
  }
}

/** Says which password was proved, and nothing about it. */
export function digestOf(passwordHash: string): string {
  return sha256(passwordHash);
}
