import type { TOTP } from "otpauth";
import { Problem, type Seal, type SealContext, type World } from "../base/index.ts";
import type { Database, Db, Tx } from "../db/index.ts";

/** RFC 4226 §4, R6: at least 128 bits, 160 recommended. */
const SECRET_BYTES = 20;
const PERIOD_SECONDS = 30;
/** Clocks go wrong by a step (RFC 6238 §5.2). */
const WINDOW = 1;

/** What an authenticator app is told. Shown to its person until the first code has come back, and never again. */
export interface TotpSetup {
  /** `otpauth://totp/…`, for the QR code. */
  url: string;
  /** For typing, in base32. */
  secret: string;
}

export interface TotpParts {
  database: Database;
  seal: Seal;
  world: World;
}

/** One-time codes of an authenticator app (RFC 6238), a person's second factor beside the password. */
export class Totp {
  readonly #parts: TotpParts;

  constructor(parts: TotpParts) {
    this.#parts = parts;
  }

  /** Whether a password of this person has to be followed by a code. */
  async isOn(userId: string, db: Db | Tx = this.#parts.database.db): Promise<boolean> {
    const row = await db
      .selectFrom("totp_secrets")
      .select("user_id")
      .where("user_id", "=", userId)
      .where("confirmed_at", "is not", null)
      .executeTakeFirst();
    return row !== undefined;
  }

  /** A new secret, which counts from its first code on. Throws 409 `totp_on`. */
  async begin(userId: string): Promise<void> {
    const { database, seal, world } = this.#parts;
    const now = world.now().getTime();
    const fresh = {
      sealed: seal.seal(world.random(SECRET_BYTES), context(userId)),
      last_step: 0,
      created_at: now,
    };
    const row = await database.db
      .insertInto("totp_secrets")
      .values({ user_id: userId, confirmed_at: null, ...fresh })
      .onConflict((conflict) =>
        conflict.column("user_id").doUpdateSet(fresh).where("totp_secrets.confirmed_at", "is", null),
      )
      .returning("user_id")
      .executeTakeFirst();
    if (!row) throw alreadyOn();
  }

  /** What was begun and not confirmed yet; undefined when there is nothing of the kind. */
  async pending(user: { id: string; email: string }, issuer: string): Promise<TotpSetup | undefined> {
    const row = await this.#read(this.#parts.database.db, user.id);
    if (!row || row.confirmed_at !== null) return undefined;
    const totp = await this.#totp(row.sealed, user.id, { issuer, label: user.email });
    return { url: totp.toString(), secret: totp.secret.base32 };
  }

  /** The first code: from here on a code is asked for. False when it is wrong. Throws 409 `totp_not_begun`. */
  async confirm(tx: Tx, userId: string, code: string): Promise<boolean> {
    const row = await this.#read(tx, userId);
    if (!row || row.confirmed_at !== null) throw notBegun();
    const step = await this.#stepOf(row.sealed, userId, code);
    if (step === undefined) return false;
    const confirmed = await tx
      .updateTable("totp_secrets")
      .set({ confirmed_at: this.#parts.world.now().getTime(), last_step: step })
      .where("user_id", "=", userId)
      .where("confirmed_at", "is", null)
      // Begun anew meanwhile: that was another secret.
      .where("sealed", "=", row.sealed)
      .returning("user_id")
      .executeTakeFirst();
    return confirmed !== undefined;
  }

  /** Uses a code up: each counts once, on any replica, and none older than it after it (RFC 6238 §5.2). */
  async spend(tx: Tx, userId: string, code: string): Promise<boolean> {
    const row = await this.#read(tx, userId);
    if (!row || row.confirmed_at === null) return false;
    const step = await this.#stepOf(row.sealed, userId, code);
    if (step === undefined) return false;
    const spent = await tx
      .updateTable("totp_secrets")
      .set({ last_step: step })
      .where("user_id", "=", userId)
      .where("last_step", "<", step)
      .returning("user_id")
      .executeTakeFirst();
    return spent !== undefined;
  }

  /** True when there was one, confirmed or not. */
  async remove(tx: Tx, userId: string): Promise<boolean> {
    const result = await tx.deleteFrom("totp_secrets").where("user_id", "=", userId).executeTakeFirst();
    return result.numDeletedRows > 0n;
  }

  #read(db: Db | Tx, userId: string) {
    return db.selectFrom("totp_secrets").selectAll().where("user_id", "=", userId).executeTakeFirst();
  }

  async #stepOf(sealed: Uint8Array, userId: string, code: string): Promise<number | undefined> {
    const timestamp = this.#parts.world.now().getTime();
    const totp = await this.#totp(sealed, userId, {});
    // Apps show a code in two halves.
    const delta = totp.validate({ token: code.replaceAll(/\s/g, ""), timestamp, window: WINDOW });
    return delta === null ? undefined : totp.counter({ timestamp }) + delta;
  }

  async #totp(sealed: Uint8Array, userId: string, names: { issuer?: string; label?: string }): Promise<TOTP> {
    // Few people's sign-in needs it.
    const { Secret, TOTP } = await import("otpauth");
    const bytes = Uint8Array.from(this.#parts.seal.open(sealed, context(userId)));
    return new TOTP({ ...names, secret: new Secret({ buffer: bytes.buffer }), period: PERIOD_SECONDS });
  }
}

function context(userId: string): SealContext {
  return ["totp_secrets", userId];
}

function alreadyOn(): Problem {
  return new Problem(
    "conflict",
    "totp_on",
    "One-time codes are set up already. Turn them off first to set them up on another device.",
  );
}

function notBegun(): Problem {
  return new Problem(
    "conflict",
    "totp_not_begun",
    "No set-up of one-time codes is under way. Begin it on your account page.",
  );
}
