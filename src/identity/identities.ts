import { sql } from "kysely";
import { newId, Problem, type World } from "../base/index.ts";
import type { Database, Db, Tx } from "../db/index.ts";
import { type Groups, shownMoves } from "./groups.ts";
import {
  lineAbout,
  reconcileIdentities,
  SIGN_IN,
  type Unlinking,
  type UsableProvider,
  unlinkIdentity,
} from "./identity-links.ts";
import { displayOf, type Identity, toIdentity } from "./identity-rows.ts";
import type { Recorder } from "./recorder.ts";
import { type Role, toUser, type User } from "./user-rows.ts";
import { normalEmail, type Users } from "./users.ts";

/** What an issuer said about a person, verified by whoever made this. What is undefined was not said, and stays as it is. */
export interface Assertion {
  /** `sso:<id>` or `jwt:<issuer>`. */
  provider: string;
  issuer: string;
  subject: string;
  email?: string;
  name?: string;
  role?: Role;
  /** Names of groups of this gateway, mapped. */
  groups?: readonly string[];
  /** The `externalId` under which a provisioning client made the account, where the operator says that the issuer tells it. */
  externalId?: string;
}

export interface Admission {
  /** Whether an account is made for somebody never seen. */
  create(): Promise<boolean>;
  requestId?: string;
}

export type { Identity };

export interface IdentitiesParts {
  database: Database;
  world: World;
  users: Users;
  groups: Groups;
  record: Recorder;
}

/** Who people are elsewhere. The key is (issuer, subject); an e-mail address or a name never finds anybody (attack ID-18). */
export class Identities {
  readonly #parts: IdentitiesParts;

  constructor(parts: IdentitiesParts) {
    this.#parts = parts;
  }

  /** Whose identity this is, switched off or not. */
  async find(
    issuer: string,
    subject: string,
    db: Db | Tx = this.#parts.database.db,
  ): Promise<User | undefined> {
    const row = await db
      .selectFrom("user_identities")
      .innerJoin("users", "users.id", "user_identities.user_id")
      .selectAll("users")
      .where("issuer", "=", issuer)
      .where("subject", "=", subject)
      .executeTakeFirst();
    return row && toUser(row);
  }

  /**
   * The person an issuer vouches for, brought in line with what it says; with `create` an account is made for one never seen
   * (asked only then: whoever was deleted a moment ago is found no more, and remembered as departed). What changes is audited
   * under `requestId`. Throws 403 `account_unknown`, `account_disabled`, 409 `email_of_another_account`.
   */
  async admit(tx: Tx, assertion: Assertion, policy: Admission): Promise<User> {
    const { requestId } = policy;
    const known = await this.#known(tx, assertion, requestId);
    if (!known && !(await policy.create())) throw unknownAccount();
    if (known && !known.isActive) throw disabledAccount();
    const person = known
      ? await this.#seen(tx, known, assertion, requestId)
      : await this.#create(tx, assertion, requestId);
    const settled = await this.#settleRole(tx, person, assertion, requestId);
    return this.#settleGroups(tx, settled, assertion, requestId);
  }

  /** A further identity of somebody who proved both; one they have already stays. Throws 409 `identity_taken`. */
  async link(tx: Tx, userId: string, assertion: Assertion, by: { requestId?: string } = {}): Promise<void> {
    const { world } = this.#parts;
    const { issuer, subject, provider } = assertion;
    const now = world.now().getTime();
    const row = await tx
      .insertInto("user_identities")
      .values({
        id: newId(world, "identity"),
        user_id: userId,
        issuer,
        subject,
        provider,
        display: displayOf(assertion),
        created_at: now,
        last_used_at: now,
      })
      .onConflict((conflict) => conflict.columns(["issuer", "subject"]).doNothing())
      .returning("id")
      .executeTakeFirst();
    if (row)
      return this.#tell(tx, "identity.linked", userId, assertion, by.requestId, { identity_id: row.id });
    if ((await this.find(issuer, subject, tx))?.id !== userId) throw identityTaken();
  }

  /** See `unlinkIdentity`. */
  unlink(tx: Tx, identity: { userId: string; id: string }, how: Unlinking): Promise<void> {
    return unlinkIdentity(this.#parts, tx, identity, how);
  }

  /** See `reconcileIdentities`. */
  reconcile(tx: Tx, usable: readonly UsableProvider[]): Promise<void> {
    return reconcileIdentities(tx, usable);
  }

  /** Oldest first. */
  async list(userId: string, db: Db | Tx = this.#parts.database.db): Promise<Identity[]> {
    const rows = await db
      .selectFrom("user_identities")
      .selectAll()
      .where("user_id", "=", userId)
      .orderBy("created_at")
      .orderBy("id")
      .execute();
    return rows.map(toIdentity);
  }

  /** Looks again once nobody else can be making the same account: two first sign-ins at once are one person. */
  async #known(tx: Tx, assertion: Assertion, requestId?: string): Promise<User | undefined> {
    const { issuer, subject } = assertion;
    const known = await this.find(issuer, subject, tx);
    if (known) return known;
    await this.#parts.database.hold(tx, ["identity", issuer, subject]);
    return (await this.find(issuer, subject, tx)) ?? this.#provisioned(tx, assertion, requestId);
  }

  /** The account that a provisioning client made for this person, at their first sign-in. Ambiguous names find nobody. */
  async #provisioned(tx: Tx, assertion: Assertion, requestId?: string): Promise<User | undefined> {
    const { externalId, issuer } = assertion;
    if (externalId === undefined) return undefined;
    const rows = await tx
      .selectFrom("users")
      .select("id")
      .where("external_id", "=", externalId)
      .where("source", "=", "scim")
      .where("kind", "=", "person")
      // Who may write external ids is no administrator yet: an administrator links by proof (decision 0032).
      .where(sql<boolean>`coalesce(own_role, role) = 'member'`)
      .limit(2)
      .execute();
    if (rows.length !== 1) return undefined;
    const person = await this.#parts.users.locked(tx, rows[0]!.id);
    // Whoever may write names would become an administrator; those link their sign-in themselves.
    if (person.ownRole === "admin") return undefined;
    const others = await this.list(person.id, tx);
    if (others.some((identity) => identity.issuer === issuer)) return undefined;
    if (person.isActive) await this.link(tx, person.id, assertion, { requestId });
    return person;
  }

  /** An address that another account has is never enough to become that account, whatever the issuer says of it. */
  async #create(tx: Tx, assertion: Assertion, requestId?: string): Promise<User> {
    const { email, name, provider: source } = assertion;
    const made = await this.#parts.users.insertFrom(tx, { email, name, source });
    if (!made) throw addressTaken();
    await this.#tell(tx, "user.created", made.id, assertion, requestId, {
      email: made.email,
      role: made.role,
    });
    await this.link(tx, made.id, assertion, { requestId });
    return made;
  }

  /** Name and address follow where the account is the provider's; one that another account has by now stays as it was. */
  async #seen(tx: Tx, person: User, assertion: Assertion, requestId?: string): Promise<User> {
    const now = this.#parts.world.now().getTime();
    const seen = await tx
      .updateTable("user_identities")
      .set({
        display: displayOf(assertion),
        last_used_at: now,
        // A provider may have come under another id; a token of the same issuer opens no browser session.
        ...(assertion.provider.startsWith(SIGN_IN) && { provider: assertion.provider }),
      })
      .where("issuer", "=", assertion.issuer)
      .where("subject", "=", assertion.subject)
      .where("user_id", "=", person.id)
      .executeTakeFirst();
    // Unlinked, or its account deleted, since it was found: it opens nothing any more.
    if (seen.numUpdatedRows === 0n) throw unknownAccount();
    if (person.source !== assertion.provider) return person;
    const said = await saidOf(tx, person, assertion);
    if (said.name === person.name && said.email === person.email) return person;
    await tx
      .updateTable("users")
      .set({ ...said, updated_at: now })
      .where("id", "=", person.id)
      .execute();
    await this.#parts.database.changes.note(tx, "user", person.id, now);
    await this.#tell(tx, "user.renamed", person.id, assertion, requestId, said);
    return { ...person, ...said, updatedAt: now };
  }

  async #settleRole(tx: Tx, person: User, assertion: Assertion, requestId?: string): Promise<User> {
    const { role } = assertion;
    if (role === undefined || role === person.ownRole) return person;
    const changed = await this.#unlessLast(tx, person, assertion, requestId, () =>
      this.#parts.users.inRole(tx, person, role),
    );
    if (changed) await this.#tell(tx, "user.role_changed", person.id, assertion, requestId, { role });
    return changed ?? person;
  }

  async #settleGroups(tx: Tx, person: User, assertion: Assertion, requestId?: string): Promise<User> {
    const { groups, provider } = assertion;
    if (!groups) return person;
    const changed = await this.#unlessLast(tx, person, assertion, requestId, async () => {
      const moved = await this.#parts.groups.sync(tx, person.id, groups, provider);
      if (moved.added.length + moved.removed.length > 0)
        await this.#tell(tx, "user.groups_changed", person.id, assertion, requestId, shownMoves(moved));
      return this.#parts.users.find(person.id, tx);
    });
    return changed ?? person;
  }

  /** A claim never leaves the gateway without an administrator: what would is undone, written down, and the rest goes on. */
  async #unlessLast<T>(
    tx: Tx,
    person: User,
    assertion: Assertion,
    requestId: string | undefined,
    change: () => Promise<T>,
  ): Promise<T | undefined> {
    await sql`savepoint before_claim`.execute(tx);
    try {
      const changed = await change();
      await sql`release savepoint before_claim`.execute(tx);
      return changed;
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "last_administrator") throw error;
      await sql`rollback to savepoint before_claim`.execute(tx);
      this.#parts.world.log.warn("identity.last_administrator_kept", {
        user: person.id,
        provider: assertion.provider,
        request_id: requestId,
      });
      await this.#tell(tx, "user.role_kept", person.id, assertion, requestId, { role: person.role });
      return undefined;
    }
  }

  #tell(
    tx: Tx,
    event: string,
    userId: string,
    assertion: Assertion,
    requestId: string | undefined,
    detail: Record<string, unknown>,
  ): Promise<void> {
    return this.#parts.record(tx, lineAbout(event, userId, assertion, requestId, detail));
  }
}

async function saidOf(
  tx: Tx,
  person: User,
  { name = person.name, email }: Assertion,
): Promise<Pick<User, "name" | "email">> {
  const address = email === undefined ? person.email : normalEmail(email);
  if (address === person.email) return { name, email: address };
  const other = await tx.selectFrom("users").select("id").where("email", "=", address).executeTakeFirst();
  return { name, email: other ? person.email : address };
}

function unknownAccount(): Problem {
  return new Problem(
    "forbidden",
    "account_unknown",
    "You have no account on this gateway. Ask an administrator to make one.",
  );
}

function disabledAccount(): Problem {
  return new Problem(
    "forbidden",
    "account_disabled",
    "Your account on this gateway is switched off. Ask an administrator.",
  );
}

function addressTaken(): Problem {
  return new Problem(
    "conflict",
    "email_of_another_account",
    "An account with your e-mail address exists here and is not linked with this sign-in. Sign in the way you did before, and link it there.",
  );
}

function identityTaken(): Problem {
  return new Problem(
    "conflict",
    "identity_taken",
    "That account is linked with a person here already. Sign in with it, or unlink it there first.",
  );
}
