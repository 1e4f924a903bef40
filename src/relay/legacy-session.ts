import { type JsonObject, stringifyJson, type World } from "../base/index.ts";
import { type Attempt, type Attempted, refusal } from "./attempt.ts";
import type { RelayCall } from "./call.ts";
import { type Answered, post } from "./exchange.ts";
import { RelayFault } from "./fault.ts";
import { askNobody } from "./list-features.ts";
import { isObject } from "./message.ts";
import { isModernCode } from "./modern.ts";
import { Patience } from "./patience.ts";
import { baseHeaders, carriedCapabilities, type Implementation } from "./request.ts";
import { legacyVersions } from "./revisions.ts";
import type { LegacySession } from "./sessions.ts";

/** Ends a call before there is a session to make it in. */
export class NoSession extends Error {
  readonly attempted: Attempted;

  constructor(attempted: Attempted) {
    super("no session");
    this.attempted = attempted;
  }
}

const SESSION_ID = /^[\x21-\x7e]{1,1024}$/;
const SMALL_TIMEOUT_MS = 5_000;
const FAREWELL_MS = 2_000;

/**
 * `initialize` and `notifications/initialized`. Others may wait for it: it does not end with this call's client. Throws
 * `RelayFault`, and `NoSession` when the upstream gives none.
 */
export async function openSession(
  world: World,
  self: Implementation,
  attempt: Attempt,
  id: number,
): Promise<LegacySession> {
  const { upstream } = attempt.call;
  const patience = new Patience(new AbortController().signal, upstream.timeoutMs);
  try {
    const { url, tls } = upstream;
    const request = { url, tls, patience };
    const headers = baseHeaders(legacyVersions[0]);
    attempt.authorize(headers);
    const answer = await post(world.outbound, {
      ...request,
      headers,
      id,
      body: initialize(self, id, offered(attempt.call)),
    });
    const session = readSession(answer);
    const initialized = stringifyJson({ jsonrpc: "2.0", method: "notifications/initialized" });
    const told = await post(world.outbound, {
      ...request,
      headers: sessionHeaders(attempt, session),
      body: initialized,
    });
    if (told.kind === "refused") throw new NoSession(refusedCall(told));
    return session;
  } finally {
    patience.stop();
  }
}

function initialize(self: Implementation, id: number, capabilities: JsonObject): string {
  return stringifyJson({
    jsonrpc: "2.0",
    id,
    method: "initialize",
    params: { protocolVersion: legacyVersions[0], capabilities, clientInfo: self },
  });
}

/**
 * Tells the upstream that a session is not needed any more (2025-11-25 "Session Management"); it may not care. Takes two
 * seconds at most; never throws.
 */
export async function endSession(world: World, attempt: Attempt, session: LegacySession): Promise<void> {
  if (session.id === undefined) return;
  const { url, tls } = attempt.call.upstream;
  const patience = new Patience(new AbortController().signal, FAREWELL_MS);
  try {
    const answer = await world.outbound.request(url, {
      method: "DELETE",
      headers: sessionHeaders(attempt, session),
      signal: patience,
      headersTimeoutMs: 0,
      bodyTimeoutMs: 0,
      tls,
    });
    answer.body.discard({ bytes: 64 * 1024, ms: 1_000 });
  } catch (error) {
    world.log.debug("relay.session_not_ended", { upstream_id: attempt.call.upstream.id, error });
  } finally {
    patience.stop();
  }
}

/** Sends what needs no answer; whether it arrives changes nothing. Never throws. */
export async function tellSession(
  world: World,
  attempt: Attempt,
  session: LegacySession,
  message: JsonObject,
): Promise<void> {
  const patience = new Patience(new AbortController().signal, SMALL_TIMEOUT_MS);
  try {
    await post(world.outbound, {
      url: attempt.call.upstream.url,
      tls: attempt.call.upstream.tls,
      headers: sessionHeaders(attempt, session),
      body: stringifyJson(message),
      patience,
    });
  } catch (error) {
    world.log.debug("relay.message_lost", { upstream_id: attempt.call.upstream.id, error });
  } finally {
    patience.stop();
  }
}

/** Whose session it is: what differs in any of it shares none. */
export function sessionKey(attempt: Attempt): string {
  const key = ownerKey(attempt);
  const { call } = attempt;
  const { owner } = call;
  if (!call.onRequest) return key;
  // Whoever can be asked shares no session with other people, also where they share a credential: what is asked late in
  // it must not reach the next person.
  const caller = owner ? "" : (call.caller ?? "");
  // What was declared at `initialize` holds for every call in a session, so clients that differ in it share none.
  return `${key} ${caller} ${JSON.stringify(offered(call))}`;
}

/** The same without regard to what a client can be asked. */
export function ownerKey({ call, credential }: Attempt): string {
  const { owner, upstream, trial } = call;
  const whose = trial ? `trial:${trial.id}` : owner ? `${owner.mode}:${owner.id}` : "";
  return `${upstream.id} ${upstream.generation} ${credential} ${whose}`;
}

/** What `initialize` declares for this call: nothing, unless its client can be asked. */
export function offered(call: RelayCall): JsonObject {
  if (!call.onRequest) return {};
  const capabilities = carriedCapabilities(call);
  // A change of roots is not passed on, so none is promised.
  if (capabilities.roots) capabilities.roots = {};
  return capabilities;
}

/** Whether there is somebody to be asked, and something that may be asked. */
export function canBeAsked(call: RelayCall): boolean {
  if (!call.onRequest || call.onRequest === askNobody) return false;
  const { elicitation, sampling, roots } = call.client.capabilities;
  return isObject(elicitation) || isObject(sampling) || isObject(roots);
}

export function sessionHeaders(attempt: Attempt, session: LegacySession): Record<string, string> {
  const headers = baseHeaders(session.version);
  if (session.id !== undefined) headers["mcp-session-id"] = session.id;
  attempt.authorize(headers);
  return headers;
}

function readSession(answer: Answered): LegacySession {
  if (answer.kind === "refused") throw new NoSession(refusedCall(answer));
  if (answer.kind === "error" && isModernCode(answer.error.code))
    throw new NoSession({ outcome: "other_era" });
  if (answer.kind !== "result") throw new RelayFault("upstream_protocol");
  const version = answer.result.protocolVersion;
  if (!legacyVersions.some((known) => known === version)) throw new RelayFault("upstream_protocol");
  const id = answer.headers["mcp-session-id"];
  // 2025-11-25 "Session Management": visible ASCII only.
  if (id !== undefined && (typeof id !== "string" || !SESSION_ID.test(id)))
    throw new RelayFault("upstream_protocol");
  const { capabilities } = answer.result;
  return { id, version: version as string, capabilities: isObject(capabilities) ? capabilities : {} };
}

/** What an answer in a session means. */
export function judgeAnswer(answer: Answered, session: LegacySession): Attempted | "session_lost" {
  switch (answer.kind) {
    case "result":
      return { outcome: "result", result: answer.result };
    case "error":
      return { outcome: "error", error: answer.error };
    case "accepted":
      throw new RelayFault("upstream_protocol");
    case "refused":
      // Servers of the official v1 SDK say 400 where the specification says 404.
      if (session.id !== undefined && (answer.status === 404 || (answer.status === 400 && !answer.ours))) {
        return "session_lost";
      }
      return refusedCall(answer);
  }
}

function refusedCall(answer: Extract<Answered, { kind: "refused" }>): Attempted {
  const general = refusal(answer);
  if (general) return general;
  if (isModernCode(answer.error?.code)) return { outcome: "other_era" };
  if (answer.error && answer.ours) return { outcome: "error", error: answer.error };
  throw new RelayFault("upstream_protocol");
}
