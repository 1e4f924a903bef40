import { type Owner, Problem } from "../base/index.ts";
import { cookieName, readCookie } from "../http/index.ts";
import { looksAfter, type User } from "../identity/index.ts";
import { spentHere, takesToken } from "./link-token.ts";
import type { Link } from "./links.ts";
import type { ConnectParts } from "./parts.ts";

/**
 * Who opens the link. `proved`: by a cookie of this browser. `sign_in`: nobody is signed in. `ask`: has to type what only
 * the starter has; `token`: only the one-time token of the link helps. Somebody else is refused with 403 and never offered to switch (protocol document §3.3).
 */
export type Opener =
  | { step: "proved" }
  | { step: "sign_in" }
  | { step: "ask"; field: "vk" | "session" | "token" };

/** Who starts a link must finish it: knowing its address is never enough (contract section 6). */
export async function opener(parts: ConnectParts, request: Request, link: Link): Promise<Opener> {
  const { owner } = link;
  switch (owner.mode) {
    case "user":
    case "discovery":
    case "shared": {
      const signedIn = await parts.sessions.of(request);
      if (!signedIn) return { step: "sign_in" };
      if (!(await standsFor(parts, signedIn.user, owner))) throw notYours();
      return { step: "proved" };
    }
    case "vk":
      return spentHere(parts, request, link) ? { step: "proved" } : { step: "ask", field: "vk" };
    case "session": {
      if (spentHere(parts, request, link)) return { step: "proved" };
      const expected = await parts.grantBrowserHash(owner.id);
      if (expected === undefined) return { step: "ask", field: "session" };
      const value = readCookie(request, cookieName("grant", parts.settings, owner.id));
      const isSame = value !== undefined && parts.hash.of("grant_cookie", value) === expected;
      if (isSame) return { step: "proved" };
      if (takesToken(parts, link)) return { step: "ask", field: "token" };
      throw notYours();
    }
    case "flow":
      // Connected from the services page only, where the consent's own cookie decides.
      throw notYours();
  }
}

/** Whether the opener may go on; `false`: what was typed is not it. Guesses are limited per link. */
export async function mayFinish(
  parts: ConnectParts,
  request: Request,
  link: Link,
  typed: { vk?: string; session?: string },
): Promise<boolean> {
  const who = await opener(parts, request, link);
  if (who.step === "proved") return true;
  if (who.step === "sign_in")
    throw new Problem("unauthenticated", "sign_in_required", "Sign in first, then open the link again.");
  if (who.field === "token") return false;
  parts.rateLimits.take("guess", `connect ${link.id}`);
  if (who.field === "session") {
    return typed.session !== undefined && parts.anonymousSessionId(typed.session.trim()) === link.owner.id;
  }
  const result = await parts.virtualKeys.authenticate((typed.vk ?? "").trim());
  return result.ok && result.key.id === link.owner.id;
}

/**
 * Protocol document §3.3 step 6: still the same person, or still an administrator, not only the same browser. Who that is, for
 * the audit trail: with a service account somebody else than the one whose account it becomes.
 */
export async function whoFinishes(
  parts: Pick<ConnectParts, "sessions" | "database">,
  request: Request,
  owner: Owner,
): Promise<string> {
  if (owner.mode === "flow") return "system";
  if (owner.mode === "vk" || owner.mode === "session") return `${owner.mode}:${owner.id}`;
  const user = (await parts.sessions.of(request))?.user;
  if (!user || !(await standsFor(parts, user, owner))) throw notYours();
  return `user:${user.id}`;
}

/** Whether this person's login counts as that of the link: their own, or of a service account they look after (decision 0033). */
async function standsFor(
  { database }: Pick<ConnectParts, "database">,
  user: Pick<User, "id" | "role">,
  owner: Owner,
): Promise<boolean> {
  if (owner.mode !== "user") return user.role === "admin";
  return user.id === owner.id || looksAfter(database.db, user, owner.id);
}

export function notYours(): Problem {
  return new Problem(
    "forbidden",
    "link_of_another_identity",
    "This link was made for somebody else or for another browser. Only the person who asked for it can finish it.",
  );
}
