import type { Db, Tx } from "../db/index.ts";
import { looksAfter } from "../identity/index.ts";
import type { Choice } from "./consent-flow.ts";
import type { SignedIn } from "./parts.ts";

/**
 * A key proves the key, not the person: a person's own connections change only while that person is signed in, and those of a
 * service account while somebody is who looks after it (decision 0033).
 */
export async function mayConnect(
  db: Db | Tx,
  choice: Choice,
  session: SignedIn | undefined,
): Promise<boolean> {
  const userId = choice.by === "skip" ? undefined : choice.userId;
  if (userId === undefined || session?.userId === userId) return true;
  const person = session && { id: session.userId, role: session.role };
  return looksAfter(db, person, userId);
}
