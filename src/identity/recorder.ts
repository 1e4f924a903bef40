import type { Owner } from "../base/index.ts";
import type { Tx } from "../db/index.ts";
import { actorOf, type Principal } from "./principal.ts";

/** A line of the audit trail; the trail is above this folder, so app.ts hands over how to write one. */
export interface RecordedLine {
  event: string;
  actor: string;
  owner?: Owner;
  requestId?: string;
  detail?: Record<string, unknown>;
}

export type Recorder = (tx: Tx | undefined, line: RecordedLine) => Promise<void>;

/** A line about a person, in the transaction that changes them. */
export function aboutUser(
  record: Recorder,
  event: string,
  by: { caller: Principal | string; requestId: string },
  detail: Record<string, unknown> = {},
): (tx: Tx, user: { id: string; email: string }) => Promise<void> {
  const actor = typeof by.caller === "string" ? by.caller : actorOf(by.caller);
  return (tx, { id, email }) =>
    record(tx, {
      event,
      actor,
      owner: { mode: "user", id },
      requestId: by.requestId,
      detail: { user_id: id, email, ...detail },
    });
}
