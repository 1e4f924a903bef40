import {
  Hidden,
  type KeyedHash,
  newId,
  newSecret,
  Problem,
  type Settings,
  type World,
} from "../base/index.ts";
import type { Database, Db, Flow, Flows, Row, Tx } from "../db/index.ts";
import { canSignIn } from "./administrators.ts";
import { creationOptions, readAssertion, readCreation, requestOptions } from "./passkey-ceremony.ts";
import { type RelyingParty, relyingParty } from "./relying-party.ts";
import { toUser, type User } from "./user-rows.ts";
import type { Users } from "./users.ts";

/** For the person to answer their authenticator. */
const CHALLENGE_MS = 5 * 60_000;
/** WebAuthn §13.4.3: 16 bytes or more. */
const CHALLENGE_BYTES = 24;
const MOST = 20;
/** How browsers write a credential id (WebAuthn §5.1); the database takes no text with a NUL in it. */
const BASE64URL = /^[A-Za-z0-9_-]+$/;

/** As its person sees it. Times in milliseconds since 1970. */
export interface Passkey {
  id: string;
  name: string;
  /** Kept by a provider that brings it to other devices. */
  backedUp: boolean;
  createdAt: number;
  lastUsedAt?: number;
}

/** What a page needs to ask for a passkey, and the cookie value that binds the challenge to its browser. */
export interface Challenge {
  /** JSON, for `navigator.credentials`. */
  options: string;
  token: Hidden;
}

interface Asked extends Record<string, unknown> {
  challenge: string;
  use: "register" | "sign_in";
  returnTo: string;
}

export interface PasskeysParts {
  database: Database;
  flows: Flows;
  hash: KeyedHash;
  world: World;
  settings: Settings;
  users: Users;
}

/** Passkeys (WebAuthn Level 3) of the people: made, named, used to sign in, removed. */
export class Passkeys {
  readonly #parts: PasskeysParts;

  constructor(parts: PasskeysParts) {
    this.#parts = parts;
  }

  /** Whether passkeys work at the address this request came to. */
  workAt(request: Request): boolean {
    return relyingParty(request, this.#parts.settings) !== undefined;
  }

  async list(userId: string, db: Db | Tx = this.#parts.database.db): Promise<Passkey[]> {
    const rows = await db
      .selectFrom("passkeys")
      .selectAll()
      .where("user_id", "=", userId)
      .orderBy("created_at")
      .orderBy("id")
      .execute();
    return rows.map(toPasskey);
  }

  /** Asks a browser to make one. Throws 400 `passkeys_unavailable`, 409 `too_many_passkeys`. */
  async askToCreate(request: Request, user: User): Promise<Challenge> {
    const party = this.#partyOf(request);
    const rows = await this.#parts.database.db
      .selectFrom("passkeys")
      .select(["credential_id", "transports_json"])
      .where("user_id", "=", user.id)
      .execute();
    if (rows.length >= MOST) throw tooMany();
    const known = rows.map((row) => ({
      id: row.credential_id,
      transports: JSON.parse(row.transports_json) as string[],
    }));
    return this.#ask("register", { userId: user.id, returnTo: "/account" }, (challenge) =>
      creationOptions(party, user, challenge, known),
    );
  }

  /** Stores what the browser made. Throws 400 `passkey_refused`, 409 `passkey_taken`. */
  async create(
    request: Request,
    answer: { token: string | undefined; response: unknown; name: string },
    user: User,
    also: (tx: Tx, user: User) => Promise<void>,
  ): Promise<Passkey> {
    const { database, world } = this.#parts;
    const party = this.#partyOf(request);
    const asked = await this.#take("register", answer.token);
    if (asked?.owner?.id !== user.id) throw refused("invalid");
    const made = await readCreation(answer.response, party, asked.data.challenge);
    if ("refused" in made) throw this.#refuse("invalid", made.refused);
    return database.transaction(async (tx) => {
      const row = await tx
        .insertInto("passkeys")
        .values({
          id: newId(world, "passkey"),
          user_id: user.id,
          credential_id: made.credentialId,
          public_key: made.publicKey,
          counter: made.counter,
          transports_json: JSON.stringify(made.transports),
          name: answer.name,
          backed_up: made.backedUp ? 1 : 0,
          created_at: world.now().getTime(),
          last_used_at: null,
        })
        .onConflict((conflict) => conflict.column("credential_id").doNothing())
        .returningAll()
        .executeTakeFirst();
      if (!row) throw new Problem("conflict", "passkey_taken", "This passkey is registered here already.");
      await also(tx, user);
      return toPasskey(row);
    });
  }

  /** Asks a browser for any passkey of this address. Throws 400 `passkeys_unavailable`. */
  askToSignIn(request: Request, returnTo: string): Promise<Challenge> {
    const party = this.#partyOf(request);
    return this.#ask("sign_in", { returnTo }, (challenge) => requestOptions(party, challenge));
  }

  /**
   * Whose passkey answered. `admit` runs in the transaction that counts the use. Throws 401 `passkey_refused`, whatever the
   * reason: the log has it.
   */
  async signIn<T>(
    request: Request,
    answer: { token: string | undefined; response: unknown },
    admit: (tx: Tx, user: User) => Promise<T>,
  ): Promise<{ admitted: T; user: User; returnTo: string }> {
    const party = this.#partyOf(request);
    const asked = await this.#take("sign_in", answer.token);
    if (!asked) throw refused("unauthenticated");
    const row = await this.#find(answer.response);
    if (!row) throw this.#refuse("unauthenticated", "not a passkey of anybody here");
    const used = await readAssertion(answer.response, party, asked.data.challenge, {
      id: row.credential_id,
      publicKey: Uint8Array.from(row.public_key),
      counter: row.counter,
    });
    if ("refused" in used) throw this.#refuse("unauthenticated", used.refused);
    return this.#parts.database.transaction(async (tx) => {
      const user = (await this.#count(tx, row, used)) && (await this.#active(tx, row.user_id));
      if (!user) throw refused("unauthenticated");
      return { admitted: await admit(tx, user), user, returnTo: asked.data.returnTo };
    });
  }

  /** Throws 404. */
  async rename(userId: string, id: string, name: string): Promise<void> {
    const result = await this.#parts.database.db
      .updateTable("passkeys")
      .set({ name })
      .where("id", "=", id)
      .where("user_id", "=", userId)
      .executeTakeFirst();
    if (result.numUpdatedRows === 0n) throw unknownPasskey();
  }

  /** Throws 404, 409 `last_way_in` when nothing else would let the person in. */
  async remove(tx: Tx, user: User, id: string): Promise<void> {
    // Two at once must not each leave the other as the last.
    await this.#parts.users.locked(tx, user.id);
    const result = await tx
      .deleteFrom("passkeys")
      .where("id", "=", id)
      .where("user_id", "=", user.id)
      .executeTakeFirst();
    if (result.numDeletedRows === 0n) throw unknownPasskey();
    if (!(await canSignIn(tx, user.id))) throw lastSignIn();
  }

  /** All of a person; for a recovery. */
  async removeAll(tx: Tx, userId: string): Promise<void> {
    await tx.deleteFrom("passkeys").where("user_id", "=", userId).execute();
  }

  async #ask(
    use: Asked["use"],
    { userId, returnTo }: { userId?: string; returnTo: string },
    options: (challenge: Uint8Array) => Promise<string>,
  ): Promise<Challenge> {
    const { database, flows, hash, world } = this.#parts;
    const token = newSecret(world);
    const challenge = world.random(CHALLENGE_BYTES);
    const data: Asked = { use, returnTo, challenge: Buffer.from(challenge).toString("base64url") };
    await flows.start(database.db, {
      kind: "passkey",
      handleHash: hash.of("passkey", token),
      owner: userId === undefined ? undefined : { mode: "user", id: userId },
      data,
      ttlMs: CHALLENGE_MS,
    });
    return { options: await options(challenge), token: new Hidden(token) };
  }

  /** A challenge is used up by its first answer, right or wrong (WebAuthn §13.4.3). */
  async #take(use: Asked["use"], token: string | undefined): Promise<Flow<Asked> | undefined> {
    if (token === undefined) return undefined;
    const { database, flows, hash } = this.#parts;
    const key = { handleHash: hash.of("passkey", token) };
    const flow = await database.transaction((tx) => flows.take<Asked>(tx, "passkey", key, "used"));
    return flow?.data.use === use ? flow : undefined;
  }

  async #find(response: unknown): Promise<Row<"passkeys"> | undefined> {
    const id = (response as { id?: unknown } | null)?.id;
    if (typeof id !== "string" || !BASE64URL.test(id)) return undefined;
    const row = await this.#parts.database.db
      .selectFrom("passkeys")
      .selectAll()
      .where("credential_id", "=", id)
      .executeTakeFirst();
    return row && namesOwner(response, row.user_id) ? row : undefined;
  }

  /** The counter as it is now decides, so that of two uses of a copied passkey at once one is refused too. */
  async #count(tx: Tx, row: Row<"passkeys">, used: { counter: number; backedUp: boolean }): Promise<boolean> {
    const result = await tx
      .updateTable("passkeys")
      .set({
        counter: used.counter,
        backed_up: used.backedUp ? 1 : 0,
        last_used_at: this.#parts.world.now().getTime(),
      })
      .where("id", "=", row.id)
      .where(({ or, and, eb }) =>
        or([
          eb("counter", "<", used.counter),
          // Authenticators that do not count say 0 always.
          and([eb("counter", "=", 0), eb(eb.val(used.counter), "=", 0)]),
        ]),
      )
      .executeTakeFirst();
    return result.numUpdatedRows > 0n;
  }

  async #active(tx: Tx, userId: string): Promise<User | undefined> {
    const row = await tx
      .selectFrom("users")
      .selectAll()
      .where("id", "=", userId)
      .where("is_active", "=", 1)
      .where("kind", "=", "person")
      .executeTakeFirst();
    return row && toUser(row);
  }

  #partyOf(request: Request): RelyingParty {
    const party = relyingParty(request, this.#parts.settings);
    if (party) return party;
    throw new Problem(
      "invalid",
      "passkeys_unavailable",
      "Passkeys need a host name. Open this gateway by its name instead of an IP address.",
    );
  }

  #refuse(kind: "invalid" | "unauthenticated", error: unknown): Problem {
    this.#parts.world.log.info("passkey.refused", { error });
    return refused(kind);
  }
}

/** WebAuthn §7.2, step 6: whom the authenticator says it is for, when it says so. */
function namesOwner(response: unknown, userId: string): boolean {
  const handle = (response as { response?: { userHandle?: unknown } }).response?.userHandle;
  return handle === undefined || handle === null || handle === Buffer.from(userId).toString("base64url");
}

function toPasskey(row: Row<"passkeys">): Passkey {
  return {
    id: row.id,
    name: row.name,
    backedUp: row.backed_up === 1,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at ?? undefined,
  };
}

function refused(kind: "invalid" | "unauthenticated"): Problem {
  return new Problem(
    kind,
    "passkey_refused",
    "This passkey was not accepted. Try again, or use another way.",
  );
}

function unknownPasskey(): Problem {
  return new Problem("not_found", "passkey_not_found", "You have no such passkey. Reload the page.");
}

function tooMany(): Problem {
  return new Problem("conflict", "too_many_passkeys", `You have ${MOST} passkeys. Remove one first.`);
}

function lastSignIn(): Problem {
  return new Problem(
    "conflict",
    "last_way_in",
    "This is the only way you have to sign in. Set a password or add another way first.",
  );
}
