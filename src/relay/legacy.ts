import { type JsonObject, stringifyJson, type World } from "../base/index.ts";
import { type Attempt, type Attempted, refusal } from "./attempt.ts";
import type { RelayCall } from "./call.ts";
import { deliver } from "./deliver.ts";
import { type Answered, post } from "./exchange.ts";
import { RelayFault } from "./fault.ts";
import { isObject } from "./message.ts";
import { isModernCode } from "./modern.ts";
import { Patience } from "./patience.ts";
import {
  addExtraHeaders,
  baseHeaders,
  carriedCapabilities,
  type Implementation,
  legacyBody,
} from "./request.ts";
import { legacyVersions } from "./revisions.ts";
import { type LegacySession, LegacySessions } from "./sessions.ts";
import { isBelow } from "./severity.ts";
import { UpstreamAsks } from "./upstream-asks.ts";

/** Ends a call before there is a session to make it in. */
class NoSession extends Error {
  readonly attempted: Attempted;

  constructor(attempted: Attempted) {
    super("no session");
    this.attempted = attempted;
  }
}

const SESSION_ID = /^[\x21-\x7e]{1,1024}$/;
const SMALL_TIMEOUT_MS = 5_000;

/** Requests to upstreams of 2025-11-25 and before: `initialize` once, then one POST each. */
export class LegacyUpstreams {
  readonly sessions: LegacySessions;
  readonly #world: World;
  readonly #self: Implementation;

  constructor(world: World, self: Implementation) {
    this.#world = world;
    this.#self = self;
    this.sessions = new LegacySessions(() => world.now().getTime());
  }

  /** Throws `RelayFault`. `nextId` numbers requests, unique among everything we send. */
  async call(attempt: Attempt, nextId: () => number, patience: Patience): Promise<Attempted> {
    const key = sessionKey(attempt);
    try {
      for (let again = false; ; again = true) {
        const session = await this.sessions.get(key, () => this.#open(attempt, nextId()));
        // What `server/discover` asks, an older server has said at `initialize`.
        if (attempt.call.method === "server/discover") return discovered(session);
        if (attempt.call.logLevel !== undefined) await this.#setLevel(attempt, session, nextId(), patience);
        const attempted = await this.#send(attempt, session, nextId(), patience);
        if (attempted !== "session_lost") return attempted;
        await this.sessions.drop(key, session);
        // 2025-11-25 "Session Management": after 404, `initialize` again; once is enough to tell.
        if (again) throw new RelayFault("upstream_protocol");
      }
    } catch (error) {
      if (error instanceof NoSession) return error.attempted;
      throw error;
    }
  }

  /** The log level that this call wants, for the session it is made in; a refusal is nobody's loss but the log's. */
  async #setLevel(attempt: Attempt, session: LegacySession, id: number, patience: Patience): Promise<void> {
    const level = attempt.call.logLevel!;
    if (session.capabilities?.logging === undefined) return;
    // Others may be in it who want more; what is too much for this client is left out on its own side.
    if (session.logLevel !== undefined && !isBelow(level, session.logLevel)) return;
    const { upstream, client, owner, signal } = attempt.call;
    const call = { upstream, client, owner, signal, method: "logging/setLevel", params: { level } };
    await this.#send({ ...attempt, call }, session, id, patience);
    session.logLevel = level;
  }

  async #send(
    attempt: Attempt,
    session: LegacySession,
    id: number,
    patience: Patience,
  ): Promise<Attempted | "session_lost"> {
    const { call } = attempt;
    // Made with the first request: few upstreams ask.
    let asks: UpstreamAsks | undefined;
    const headers = sessionHeaders(attempt, session);
    // Only with the call: the session it is made in is shared, and its `initialize` is no one request's.
    addExtraHeaders(headers, call);
    try {
      const answer = await post(this.#world.outbound, {
        url: call.upstream.url,
        tls: call.upstream.tls,
        headers,
        body: legacyBody(call, id),
        id,
        patience,
        onMessage: (message) => {
          if (message.kind === "request") {
            asks ??= new UpstreamAsks(call, patience, (answer) =>
              this.#tell(attempt, session, { jsonrpc: "2.0", ...answer }),
            );
            return asks.take(message);
          }
          if (message.method === "notifications/cancelled") return asks?.withdraw(message.params);
          return deliver(call, id, message);
        },
      });
      return judge(answer, session);
    } catch (error) {
      // 2025-11-25 "Cancellation": closing the stream is not enough for an older server.
      if (patience.ended) {
        const params = { requestId: id, reason: patience.ended.code };
        this.#tell(attempt, session, { jsonrpc: "2.0", method: "notifications/cancelled", params });
      }
      throw error;
    } finally {
      asks?.end();
    }
  }

  /** Sends what needs no answer; whether it arrives changes nothing for the call. */
  #tell(attempt: Attempt, session: LegacySession, message: JsonObject): void {
    const patience = new Patience(new AbortController().signal, SMALL_TIMEOUT_MS);
    post(this.#world.outbound, {
      url: attempt.call.upstream.url,
      tls: attempt.call.upstream.tls,
      headers: sessionHeaders(attempt, session),
      body: stringifyJson(message),
      patience,
    })
      .catch((error) =>
        this.#world.log.debug("relay.message_lost", { upstream_id: attempt.call.upstream.id, error }),
      )
      .finally(() => patience.stop());
  }

  /** `initialize` and `notifications/initialized`. Others may wait for it: it does not end with this call's client. */
  async #open(attempt: Attempt, id: number): Promise<LegacySession> {
    const { upstream } = attempt.call;
    const patience = new Patience(new AbortController().signal, upstream.timeoutMs);
    try {
      const { url, tls } = upstream;
      const request = { url, tls, patience };
      const headers = baseHeaders(legacyVersions[0]);
      attempt.authorize(headers);
      const answer = await post(this.#world.outbound, {
        ...request,
        headers,
        id,
        body: this.#initialize(id, offered(attempt.call)),
      });
      const session = readSession(answer);
      const initialized = stringifyJson({ jsonrpc: "2.0", method: "notifications/initialized" });
      const told = await post(this.#world.outbound, {
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

  #initialize(id: number, capabilities: JsonObject): string {
    return stringifyJson({
      jsonrpc: "2.0",
      id,
      method: "initialize",
      params: { protocolVersion: legacyVersions[0], capabilities, clientInfo: this.#self },
    });
  }
}

/** Whose session it is: what differs in any of it shares none. */
export function sessionKey({ call, credential }: Attempt): string {
  const { owner, upstream, trial } = call;
  const whose = trial ? `trial:${trial.id}` : owner ? `${owner.mode}:${owner.id}` : "";
  const key = `${upstream.id} ${upstream.generation} ${credential} ${whose}`;
  // What was declared at `initialize` holds for every call in a session, so clients that differ in it share none.
  return call.onRequest ? `${key} ${JSON.stringify(offered(call))}` : key;
}

/** What `initialize` declares for this call: nothing, unless its client can be asked. */
export function offered(call: RelayCall): JsonObject {
  if (!call.onRequest) return {};
  const capabilities = carriedCapabilities(call);
  // A change of roots is not passed on, so none is promised.
  if (capabilities.roots) capabilities.roots = {};
  return capabilities;
}

function sessionHeaders(attempt: Attempt, session: LegacySession): Record<string, string> {
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

function discovered({ capabilities = {} }: LegacySession): Attempted {
  return { outcome: "result", result: { capabilities } };
}

function judge(answer: Answered, session: LegacySession): Attempted | "session_lost" {
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
