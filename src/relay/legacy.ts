import type { World } from "../base/index.ts";
import type { Attempt, Attempted } from "./attempt.ts";
import { deliver } from "./deliver.ts";
import { type Post, post } from "./exchange.ts";
import { RelayFault } from "./fault.ts";
import {
  canBeAsked,
  judgeAnswer,
  NoSession,
  openSession,
  sessionHeaders,
  sessionKey,
  tellSession,
} from "./legacy-session.ts";
import type { RpcMessage } from "./message.ts";
import type { Patience } from "./patience.ts";
import { addExtraHeaders, type Implementation, legacyBody } from "./request.ts";
import { readResumable } from "./resume.ts";
import { SessionStream } from "./session-stream.ts";
import { type LegacySession, LegacySessions } from "./sessions.ts";
import { isBelow } from "./severity.ts";
import { taskIn } from "./task-news.ts";
import { UpstreamAsks } from "./upstream-asks.ts";

type Before = Exclude<RpcMessage, { kind: "result" | "error" }>;

/** Standing streams of sessions in which something may be asked; further sessions have none. */
const MAX_STREAMS = 1_000;

/** Requests to upstreams of 2025-11-25 and before: `initialize` once, then one POST each. */
export class LegacyUpstreams {
  readonly sessions: LegacySessions;
  readonly #world: World;
  readonly #self: Implementation;
  #streams = 0;

  constructor(world: World, self: Implementation) {
    this.#world = world;
    this.#self = self;
    this.sessions = new LegacySessions(() => world.now().getTime());
  }

  /** Throws `RelayFault`. `nextId` numbers requests, unique among everything we send. */
  async call(attempt: Attempt, nextId: () => number, patience: Patience): Promise<Attempted> {
    if (attempt.call.session !== undefined) {
      const attempted = await this.#inSession(attempt, nextId(), patience);
      // A server that binds tasks to the credential knows them in another session, too; any other says that it does not.
      if (attempted !== "session_lost") return attempted;
    }
    const key = sessionKey(attempt);
    const open = () => openSession(this.#world, this.#self, attempt, nextId());
    try {
      for (let again = false; ; again = true) {
        const session = await this.sessions.get(key, open);
        // What `server/discover` asks, an older server has said at `initialize`.
        if (attempt.call.method === "server/discover") return discovered(session);
        if (attempt.call.logLevel !== undefined) await this.#setLevel(attempt, session, nextId(), patience);
        if ((attempt.call.onRequest || attempt.call.followsTask) && !session.stream?.isReady)
          await this.#listen(attempt, session, patience);
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

  /** About a task: servers bind them to their session, the official v1 SDK among them. It is taken up again, on any replica. */
  #inSession(attempt: Attempt, id: number, patience: Patience): Promise<Attempted | "session_lost"> {
    const [version = "", name = ""] = attempt.call.session!.split(" ", 2);
    return this.#send(attempt, { version, id: name === "" ? undefined : name }, id, patience);
  }

  /** The log level that this call wants, for the session it is made in; a refusal is nobody's loss but the log's. */
  async #setLevel(attempt: Attempt, session: LegacySession, id: number, patience: Patience): Promise<void> {
    const level = attempt.call.logLevel!;
    if (session.capabilities?.logging === undefined) return;
    // Others may be in it who want more; what is too much for this client is left out on its own side.
    if (session.logLevel !== undefined && !isBelow(level, session.logLevel)) return;
    const { upstream, client, owner, signal } = attempt.call;
    const call = { upstream, client, owner, signal, method: "logging/setLevel", params: { level } };
    await this.#send(attempt.with(call), session, id, patience);
    session.logLevel = level;
  }

  /** Opens the session's own stream before the first call in it: what is asked there before it stands is asked nobody. */
  async #listen(attempt: Attempt, session: LegacySession, patience: Patience): Promise<void> {
    if (!session.stream) {
      if (this.#streams >= MAX_STREAMS || !(attempt.call.followsTask || canBeAsked(attempt.call))) return;
      this.#streams += 1;
      session.stream = new SessionStream(this.#world, attempt, session, () => {
        this.#streams -= 1;
      });
    }
    await session.stream.ready(patience);
  }

  async #send(
    attempt: Attempt,
    session: LegacySession,
    id: number,
    patience: Patience,
  ): Promise<Attempted | "session_lost"> {
    const { call } = attempt;
    const { outbound } = this.#world;
    // Made with the first request: few upstreams ask.
    let asks: UpstreamAsks | undefined;
    const onMessage = (message: Before) => {
      if (message.kind === "request") {
        asks ??= new UpstreamAsks(call, patience, (answer) => {
          void tellSession(this.#world, attempt, session, { jsonrpc: "2.0", ...answer });
        });
        return asks.take(message);
      }
      if (message.method === "notifications/cancelled") return asks?.withdraw(message.params);
      return deliver(call, id, message);
    };
    const leave = call.onRequest && session.stream?.join(onMessage);
    const headers = sessionHeaders(attempt, session);
    // Only with the call: the session it is made in is shared, and its `initialize` is no one request's.
    addExtraHeaders(headers, call);
    const request: Post = {
      url: call.upstream.url,
      tls: call.upstream.tls,
      headers,
      body: legacyBody(call, id),
      id,
      patience,

      onMessage,
      stream: (body) => readResumable(outbound, request, id, body, () => sessionHeaders(attempt, session)),
    };
    try {
      const attempted = judgeAnswer(await post(outbound, request), session);
      if (!call.tasks || attempted === "session_lost" || attempted.outcome !== "result") return attempted;
      const own = call.followsTask ? taskIn(attempted.result) : undefined;
      const news = own === undefined ? undefined : session.stream?.follow(call.progressToken ?? id, own);
      return { ...attempted, session: `${session.version} ${session.id ?? ""}`, news };
    } catch (error) {
      // 2025-11-25 "Cancellation": closing the stream is not enough for an older server.
      if (patience.ended) {
        const params = { requestId: id, reason: patience.ended.code };
        const cancelled = { jsonrpc: "2.0", method: "notifications/cancelled", params };
        void tellSession(this.#world, attempt, session, cancelled);
      }
      throw error;
    } finally {
      leave?.();
      asks?.end();
    }
  }
}

function discovered({ capabilities = {} }: LegacySession): Attempted {
  return { outcome: "result", result: { capabilities } };
}
