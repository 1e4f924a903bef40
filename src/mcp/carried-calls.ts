import { type JsonObject, newId, type World } from "../base/index.ts";
import type { Database } from "../db/index.ts";
import type { ClientAnswer, RelayCall, Relayed, UpstreamRequest } from "../relay/index.ts";
import { type CallWord, CarriedVisit, MAX_SILENCE_MS, type VisitingCall } from "./carried-visit.ts";
import type { Mailbox } from "./mailbox.ts";
import type { McpParts } from "./parts.ts";

/** How long another replica may take to pick a call up before it counts as gone, and for how long it does then. */
const PICKED_UP_MS = 5_000;
const GONE_MS = 60_000;
const MAX_GONE = 1_000;
const MAX_VISITS = 1_000;

type Outcome = Relayed | "lost";

/** A call of ours that another replica makes. */
interface Carried {
  call: RelayCall;
  replica: string;
  resolve(outcome: Outcome): void;
  /** Of the last word from there. */
  seq: number;
  silence: NodeJS.Timeout | undefined;
  readonly asked: Map<string, AbortController>;
}

const notKnown: Relayed = { outcome: "error", error: { code: -32602, message: "Task not found" } };

/**
 * Calls about tasks of programs (stdio) and of connections (HTTP with SSE), which only the replica has that made them: a call
 * that reaches another one is made there, with what it tells and asks in between. Everything is decided here before, as for
 * any call. A replica that is gone took the task along.
 */
export class CarriedCalls implements Pick<McpParts["relay"], "call" | "watch"> {
  readonly #parts: { world: World; database: Database } & Pick<McpParts, "relay" | "upstreams">;
  readonly #mailbox: Mailbox;
  readonly #carried = new Map<string, Carried>();
  readonly #visits = new Map<string, CarriedVisit>();
  /** Replicas that picked nothing up, until when they are not asked again. */
  readonly #gone = new Map<string, number>();

  constructor(
    parts: { world: World; database: Database } & Pick<McpParts, "relay" | "upstreams">,
    mailbox: Mailbox,
  ) {
    this.#parts = parts;
    this.#mailbox = mailbox;
    mailbox.on<VisitingCall>("carried", (visiting) => this.#visited(visiting));
    mailbox.on<CallWord>("carried_word", (word) => this.#heard(word));
    mailbox.on<{ id: string }>("carried_left", ({ id }) => this.#visits.get(id)?.leave());
    mailbox.on<{ id: string; key: string; answer: ClientAnswer }>("carried_answer", ({ id, key, answer }) =>
      this.#visits.get(id)?.answered(key, answer),
    );
  }

  call(call: RelayCall): Promise<Relayed> {
    // Most calls, and all that are waited for: nothing is added to them.
    return call.tasks ? this.#ofTask(call) : this.#parts.relay.call(call);
  }

  watch(...watch: Parameters<McpParts["relay"]["watch"]>): ReturnType<McpParts["relay"]["watch"]> {
    return this.#parts.relay.watch(...watch);
  }

  /** A connection is named by its replica, too, wherever the name goes. */
  async #ofTask(call: RelayCall): Promise<Relayed> {
    const [connection, replica] = call.session?.startsWith("@") ? call.session.split(" ", 2) : [];
    if (replica !== undefined && replica !== this.#mailbox.replica) return this.#elsewhere(call, replica);
    const here = connection === undefined ? call : { ...call, session: connection };
    return named(await this.#parts.relay.call(here), this.#mailbox.replica);
  }

  async #elsewhere(call: RelayCall, replica: string): Promise<Relayed> {
    const outcome = this.#isGone(replica) ? "lost" : await this.#carry(call, replica);
    if (outcome !== "lost") return named(outcome, replica);
    // A server behind HTTP with SSE is still the same one and may know it by the credential; a program was another.
    if (call.upstream.connectionType === "sse") return this.#ofTask({ ...call, session: undefined });
    return notKnown;
  }

  #isGone(replica: string): boolean {
    // SQLite serves one process: any other was before a restart.
    if (this.#parts.database.kind === "sqlite") return true;
    return (this.#gone.get(replica) ?? 0) > this.#now();
  }

  async #carry(call: RelayCall, replica: string): Promise<Outcome> {
    const id = newId(this.#parts.world, "carried");
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    const carried: Carried = { call, replica, resolve, seq: 0, silence: undefined, asked: new Map() };
    this.#carried.set(id, carried);
    const leave = () => {
      this.#tell(replica, "carried_left", { id });
      resolve({ outcome: "failed", code: "cancelled", retryable: false });
    };
    call.signal.addEventListener("abort", leave);
    let pickedUp: NodeJS.Timeout | undefined;
    try {
      const message = await this.#mailbox.send(replica, "carried", this.#packed(id, call));
      pickedUp = setTimeout(() => this.#examine(carried, message), PICKED_UP_MS);
      if (call.signal.aborted) leave();
      return await promise;
    } finally {
      clearTimeout(pickedUp);
      clearTimeout(carried.silence);
      call.signal.removeEventListener("abort", leave);
      this.#carried.delete(id);
      for (const question of carried.asked.values()) question.abort();
    }
  }

  #packed(id: string, call: RelayCall): VisitingCall {
    const { owner, account, caller, upstream, method, params, client, extraHeaders, session } = call;
    const { era, capabilities, info } = client;
    return {
      id,
      from: this.#mailbox.replica,
      upstreamId: upstream.id,
      generation: upstream.generation,
      hears: call.onNotification !== undefined,
      answers: call.onRequest !== undefined,
      call: {
        owner,
        account,
        caller,
        method,
        params,
        client: { era, capabilities, info },
        extraHeaders,
        session: session!.split(" ", 1)[0]!,
        progressToken: call.progressToken,
        tasks: true,
      },
    };
  }

  /** Nobody picked it up: that replica is gone, and the task with it. Who did has to say now and then that it goes on. */
  #examine(carried: Carried, message: string): void {
    this.#mailbox.withdraw(message).then(
      (unread) => {
        if (!unread) return this.#await(carried);
        if (this.#gone.size >= MAX_GONE) this.#gone.clear();
        this.#gone.set(carried.replica, this.#now() + GONE_MS);
        carried.resolve("lost");
      },
      () => carried.resolve("lost"),
    );
  }

  #await(carried: Carried): void {
    clearTimeout(carried.silence);
    carried.silence = setTimeout(() => carried.resolve("lost"), MAX_SILENCE_MS);
  }

  #heard({ id, seq, heard = [], asked = [], withdrawn = [], done }: CallWord): void {
    const carried = this.#carried.get(id);
    if (!carried) return;
    this.#await(carried);
    // What overtook it holds; progress goes one way.
    if (seq > carried.seq) for (const notification of heard) void carried.call.onNotification?.(notification);
    carried.seq = Math.max(seq, carried.seq);
    for (const { key, request } of asked) this.#ask(id, carried, key, request);
    for (const key of withdrawn) carried.asked.get(key)?.abort();
    if (done) carried.resolve(done);
  }

  #ask(id: string, { call, replica, asked }: Carried, key: string, request: JsonObject): void {
    if (!call.onRequest) return;
    const question = new AbortController();
    asked.set(key, question);
    const { method, params } = request as unknown as Pick<UpstreamRequest, "method" | "params">;
    call
      .onRequest({ method, params, signal: question.signal })
      .then((answer) => this.#tell(replica, "carried_answer", { id, key, answer }))
      .catch((error) => this.#parts.world.log.warn("mcp.question_not_carried", { error }))
      .finally(() => asked.delete(key));
  }

  /** A call of another replica's, about what is here. */
  #visited(visiting: VisitingCall): void {
    const { id, from, upstreamId, generation } = visiting;
    const upstream = this.#parts.upstreams.find(upstreamId);
    const say = (word: CallWord) => this.#mailbox.send(from, "carried_word", word).then(() => {});
    const visit = new CarriedVisit(visiting, say, this.#parts.world.log);
    if (this.#visits.size >= MAX_VISITS)
      visit.finish({ outcome: "failed", code: "upstream_unreachable", retryable: true });
    else if (upstream?.generation !== generation) visit.finish(notKnown);
    else {
      this.#visits.set(id, visit);
      void visit
        .run((call) => this.#parts.relay.call({ ...call, upstream }))
        .finally(() => this.#visits.delete(id));
    }
  }

  #tell(replica: string, kind: string, body: unknown): void {
    this.#mailbox
      .send(replica, kind, body)
      .catch((error) => this.#parts.world.log.warn("mcp.message_lost", { error }));
  }

  #now(): number {
    return this.#parts.world.now().getTime();
  }
}

/** A connection of that replica, under a name that all of them understand. */
function named(relayed: Relayed, replica: string): Relayed {
  if (relayed.outcome !== "result" || !relayed.session?.startsWith("@")) return relayed;
  return { ...relayed, session: `${relayed.session.split(" ", 1)[0]} ${replica}` };
}
