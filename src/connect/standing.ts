import { type Owner, Problem } from "../base/index.ts";
import type { Db } from "../db/index.ts";
import type { ConnectParts } from "./parts.ts";

/**
 * Why nothing may go on or be stored for now: the identity or the upstream of a link is switched off, while the link and
 * what is stored stay (contract section 2, disabling). Read from the database, because it is asked where a cache that is
 * a second behind would still store.
 */
export async function switchedOff(
  parts: Pick<ConnectParts, "world" | "database">,
  { owner, upstreamId }: { owner: Owner; upstreamId: string },
): Promise<Problem | undefined> {
  const { db } = parts.database;
  if (!(await isIdentityOn(db, owner, parts.world.now().getTime()))) {
    return new Problem(
      "forbidden",
      "identity_disabled",
      "The account or virtual key this is for is switched off at the moment. Ask an administrator, then try again.",
    );
  }
  const upstream = await db
    .selectFrom("upstreams")
    .select("disabled")
    .where("id", "=", upstreamId)
    .executeTakeFirst();
  if (upstream?.disabled !== 1) return undefined;
  return new Problem(
    "conflict",
    "mcp_client_disabled",
    "This service is switched off at the moment. Ask an administrator, then try again.",
  );
}

/** Throws what `switchedOff` says. */
export async function refuseSwitchedOff(
  parts: Pick<ConnectParts, "world" | "database">,
  link: { owner: Owner; upstreamId: string },
): Promise<void> {
  const problem = await switchedOff(parts, link);
  if (problem) throw problem;
}

/**
 * An identity that is gone counts as on: its end has ended the link, which is the answer then. A consent is checked at its
 * submit; a session is there as long as its grant, which ends its links itself.
 */
async function isIdentityOn(db: Db, owner: Owner, now: number): Promise<boolean> {
  switch (owner.mode) {
    case "user": {
      const user = await db
        .selectFrom("users")
        .select("is_active")
        .where("id", "=", owner.id)
        .executeTakeFirst();
      return user?.is_active !== 0;
    }
    case "vk": {
      const key = await db
        .selectFrom("virtual_keys")
        .select(["is_active", "expires_at"])
        .where("id", "=", owner.id)
        .executeTakeFirst();
      return !key || (key.is_active === 1 && (key.expires_at === null || key.expires_at > now));
    }
    case "session":
    case "flow":
    case "discovery":
    case "shared":
      return true;
  }
}
