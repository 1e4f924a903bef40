import type { Tx } from "../db/index.ts";
import type { Recorder } from "./recorder.ts";
import type { Sessions, SignIn, SignInMethod, StartedSession } from "./sessions.ts";
import type { User } from "./user-rows.ts";

export interface SignInParts {
  sessions: Sessions;
  record: Recorder;
}

/** Starts a session for somebody who proved everything that was asked for (CB-28), and writes it down. */
export async function startSession(
  { sessions, record }: SignInParts,
  user: Pick<User, "id" | "kind">,
  how: SignIn & { request: Request; requestId: string },
  tx?: Tx,
): Promise<StartedSession> {
  const { requestId, ...signIn } = how;
  const started = await sessions.start(user, tx, signIn);
  await record(tx, {
    event: "session.started",
    actor: `user:${user.id}`,
    owner: { mode: "user", id: user.id },
    requestId,
    detail: { method: how.method ?? "password", provider: how.provider },
  });
  return started;
}

/** Somebody did not prove who they are. What they typed is written nowhere: it may be a password in the wrong field. */
export async function recordRefusal(
  { record }: Pick<SignInParts, "record">,
  said: { method: SignInMethod; userId?: string; requestId: string; remote: string },
): Promise<void> {
  const { method, userId, requestId, remote } = said;
  await record(undefined, {
    event: "session.refused",
    actor: "nobody",
    owner: userId === undefined ? undefined : { mode: "user", id: userId },
    requestId,
    detail: { method, address: remote },
  });
}
