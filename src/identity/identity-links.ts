import { sql } from "kysely";
import { Problem, type World } from "../base/index.ts";
import type { Database, Tx } from "../db/index.ts";
import type { Groups } from "./groups.ts";
import { toIdentity } from "./identity-rows.ts";
import type { RecordedLine, Recorder } from "./recorder.ts";
import type { Users } from "./users.ts";

/** Providers that open browser sessions (administrators.ts counts these as ways in), and those that did. */
export const SIGN_IN = "sso:";
const REMOVED = "removed:";

export interface UnlinkParts {
  database: Database;
  world: World;
  users: Users;
  groups: Groups;
  record: Recorder;
}

export interface Unlinking {
  /** The providers that can be used now, as `sso:<id>`. */
  usable: readonly string[];
  /** Whether passwords and passkeys let people in. */
  local: boolean;
  /** The session that stays. */
  keep?: string;
  /** False: an administrator asks, who can let the person in again. */
  sparesLast?: boolean;
  requestId?: string;
  actor?: string;
}

/**
 * The identity signs nobody in any more; what its provider alone gave the person goes, and so do the sessions it opened. Throws
 * 404 `identity_not_found`, 409 `last_way_in`.
 */
export async function unlinkIdentity(
  { database, world, users, groups, record }: UnlinkParts,
  tx: Tx,
  identity: { userId: string; id: string },
  how: Unlinking,
): Promise<void> {
  // Two at once must not each leave the other as the last.
  await users.locked(tx, identity.userId);
  const row = await tx
    .deleteFrom("user_identities")
    .where("id", "=", identity.id)
    .where("user_id", "=", identity.userId)
    .returningAll()
    .executeTakeFirst();
  if (!row) throw unknownIdentity();
  const rows = await tx
    .selectFrom("user_identities")
    .selectAll()
    .where("user_id", "=", row.user_id)
    .execute();
  const left = rows.map(toIdentity);
  const another = left.some(({ provider }) => how.usable.includes(provider));
  if (how.sparesLast !== false && !another && !(how.local && (await hasLocalWay(tx, row.user_id))))
    throw lastWayIn();
  await tx
    .deleteFrom("dashboard_sessions")
    .where("user_id", "=", row.user_id)
    .where("provider", "=", row.provider)
    .where("provider_subject", "=", row.subject)
    .where("id", "!=", how.keep ?? "")
    .execute();
  if (!left.some(({ provider }) => provider === row.provider))
    await groups.sync(tx, row.user_id, [], row.provider);
  // A token of its issuer may be remembered as this person's.
  await database.changes.note(tx, "user", row.user_id, world.now().getTime());
  const line = lineAbout("identity.unlinked", row.user_id, row, how.requestId, { identity_id: row.id });
  await record(tx, { ...line, actor: how.actor ?? `user:${row.user_id}` });
}

/** A sign-in provider as the configuration has it now: `provider` is `sso:<id>`. */
export interface UsableProvider {
  provider: string;
  issuer: string;
}

/**
 * At the start: identities of providers that are not configured any more, or not with that issuer, sign nobody in and count as
 * no way in until it is back; sessions that these opened end.
 */
export async function reconcileIdentities(tx: Tx, usable: readonly UsableProvider[]): Promise<void> {
  const isUsable = (provider: (of: string) => string) =>
    usable.length === 0
      ? sql<boolean>`1 = 0`
      : sql<boolean>`(${sql.join(
          usable.map((one) => sql`(provider = ${provider(one.provider)} and issuer = ${one.issuer})`),
          sql` or `,
        )})`;
  await tx
    .updateTable("user_identities")
    .set({ provider: sql`${REMOVED} || provider` })
    .where("provider", "like", `${SIGN_IN}%`)
    .where(({ not }) => not(isUsable((name) => name)))
    .execute();
  await tx
    .updateTable("user_identities")
    .set({ provider: sql`substr(provider, ${sql.lit(REMOVED.length + 1)})` })
    .where("provider", "like", `${REMOVED}%`)
    .where(isUsable((name) => REMOVED + name))
    .execute();
  await tx
    .deleteFrom("dashboard_sessions")
    .where("provider", "like", `${SIGN_IN}%`)
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom("user_identities")
            .select("user_identities.id")
            .whereRef("user_identities.user_id", "=", "dashboard_sessions.user_id")
            .whereRef("user_identities.provider", "=", "dashboard_sessions.provider")
            .whereRef("user_identities.subject", "=", "dashboard_sessions.provider_subject"),
        ),
      ),
    )
    .execute();
}

/** A line of the audit trail about somebody's identity. */
export function lineAbout(
  event: string,
  userId: string,
  { issuer, subject, provider }: { issuer: string; subject: string; provider: string },
  requestId: string | undefined,
  detail: Record<string, unknown>,
): RecordedLine {
  return {
    event,
    actor: "system",
    owner: { mode: "user", id: userId },
    requestId,
    detail: { user_id: userId, provider, issuer, subject, ...detail },
  };
}

async function hasLocalWay(tx: Tx, userId: string): Promise<boolean> {
  const row = await tx
    .selectFrom("users")
    .select("id")
    .where("id", "=", userId)
    .where(({ or, eb, exists, selectFrom }) =>
      or([
        eb("password_hash", "is not", null),
        exists(selectFrom("passkeys").select("passkeys.id").whereRef("passkeys.user_id", "=", "users.id")),
      ]),
    )
    .executeTakeFirst();
  return row !== undefined;
}

function unknownIdentity(): Problem {
  return new Problem(
    "not_found",
    "identity_not_found",
    "There is no such linked account of yours. Open the list again.",
  );
}

function lastWayIn(): Problem {
  return new Problem(
    "conflict",
    "last_way_in",
    "This is the only way you can sign in. Set a password, add a passkey or link another account first.",
  );
}
