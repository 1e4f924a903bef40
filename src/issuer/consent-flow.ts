import { z } from "zod";
import { type KeyedHash, type Owner, Problem, type Settings } from "../base/index.ts";
import type { Database, Flow, Flows, Tx } from "../db/index.ts";
import { cookieName, readCookie, requireSameOrigin } from "../http/index.ts";
import type { Client } from "./client.ts";

export const CONSENT_MS = 15 * 60_000;

/** Whom the person chose to be; having chosen is the approval of this client for this flow. */
export type Choice =
  | { by: "login"; userId: string; display: string }
  | { by: "key"; virtualKeyId: string; userId?: string; display: string }
  | { by: "skip" };

/** How the client is answered in the end where no redirect reaches it. */
export type ConsentEnd =
  /** The device that waits, by its flow, asks for its tokens (RFC 8628 §3.4). */
  | { by: "device"; flowId: string }
  /** A page of ours shows the answer, for the person to paste. */
  | { by: "code_page" };

/** A pending consent, as it was at authorize: nothing the client changes later has any effect on it (CB-18). */
export type ConsentData = {
  client: Client;
  /** Where the answer goes; with `end` `device` no address but the grant type's name. */
  redirectUri: string;
  end?: ConsentEnd;
  /** Empty with `end` `device`, which has no code for a browser to lose. */
  challenge: string;
  scope: string;
  resource: string;
  /** Tries at a virtual key so far. */
  guesses: number;
  choice?: Choice;
};

export type ConsentFlow = Flow<ConsentData>;

/** Everything else is an id we never made; it does not reach the database. */
const FLOW_ID = /^flow_[A-Za-z0-9_-]{22}$/;

/** `flow_id` in queries and forms; what is not one of ours is answered like one that never existed. */
export const flowId = z.string().max(100);

/** The identity behind a choice. A skipped identity is the grant itself, whose id is made at submit. */
export function ownerOfChoice(choice: Choice, grantId: string): Owner {
  switch (choice.by) {
    case "login":
      return { mode: "user", id: choice.userId };
    case "key":
      // Contract section 1: a key that belongs to a user acts as that user.
      return choice.userId ? { mode: "user", id: choice.userId } : { mode: "vk", id: choice.virtualKeyId };
    case "skip":
      return { mode: "session", id: grantId };
  }
}

export interface ConsentFlowParts {
  database: Database;
  flows: Flows;
  hash: KeyedHash;
  settings: Settings;
}

/**
 * The pending consent that this browser started. Refuses in the order of the contract's table (section 3): 400 unknown,
 * 410 expired, 403 not this browser's, 409 already submitted or denied.
 */
export async function openConsent(
  parts: ConsentFlowParts,
  request: Request,
  id: string,
  tx?: Tx,
): Promise<ConsentFlow> {
  const db = tx ?? parts.database.db;
  if (!FLOW_ID.test(id)) throw unknownFlow();
  const state = await parts.flows.peek<ConsentData>(db, "consent", { id });
  if (state.state === "unknown") throw unknownFlow();
  if (state.state === "expired") throw expiredFlow();
  if (request.method === "POST") requireSameOrigin(request, parts.settings);
  const row = await db.selectFrom("flows").select("browser_hash").where("id", "=", id).executeTakeFirst();
  if (!row?.browser_hash || !holdsFlowCookie(parts, request, id, row.browser_hash)) {
    throw new Problem(
      "forbidden",
      "other_browser",
      "This was started in another browser. Go on there, or start again in your app.",
    );
  }
  if (state.state === "ended") throw finishedFlow();
  return state.flow;
}

function holdsFlowCookie(
  parts: ConsentFlowParts,
  request: Request,
  id: string,
  browserHash: string,
): boolean {
  const value = readCookie(request, cookieName("flow", parts.settings, id));
  return value !== undefined && parts.hash.of("flow_cookie", value) === browserHash;
}

export function unknownFlow(): Problem {
  return new Problem(
    "invalid",
    "unknown_flow",
    "There is no such consent. Go back to your app and start again.",
    {
      param: "flow_id",
    },
  );
}

export function expiredFlow(): Problem {
  return new Problem("gone", "flow_expired", "Nothing was allowed. Go back to your app and start again.");
}

export function finishedFlow(): Problem {
  return new Problem(
    "conflict",
    "flow_finished",
    "This consent was already answered. You can close this tab. If your app does not go on by itself, start again there.",
  );
}
