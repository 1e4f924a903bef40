import { type Gone, type JsonObject, newId, Problem, type World } from "../base/index.ts";
import { type HeldAt, HeldCall } from "./held-call.ts";
import type { Mailbox } from "./mailbox.ts";
import { code, Refusal } from "./refusal.ts";
import type { NotificationSink, Reply } from "./reply.ts";
import type { ToolCall } from "./tool-call.ts";

/** How long a client may take for one round. */
const ROUND_MS = 10 * 60_000;
/** How long another replica may take to pick a round up before it counts as gone. */
const PICKED_UP_MS = 5_000;
/** Calls held at once, for one caller and in all. */
const MAX_OF_CALLER = 32;
const MAX_HELD = 2_000;
/** Calls that ended while their client was away: their answers are whole, and in memory. */
const MAX_ENDED = 100;

interface RemoteRound {
  at: HeldAt;
  binding: string;
  responses: JsonObject;
  back: { replica: string; id: string };
}

type Outcome = { reply: Reply } | { refused: { code: number; message: string; status: number } };

/**
 * The bridge from older upstreams, which ask in the middle of a call and wait, to clients of 2026-07-28, which answer in a
 * new request: the call stays open here, its client is answered `input_required`, and the repeat goes on with it. A round
 * that arrives at another replica travels to the one that holds the call.
 */
export class HeldCalls {
  readonly #world: World;
  readonly #mailbox: Mailbox;
  readonly #held = new Map<string, HeldCall>();
  readonly #elsewhere = new Map<string, (outcome: Outcome) => void>();
  /** Clients that wait here for a round that came from another replica, to be told when they go. */
  readonly #visitors = new Map<string, AbortController>();

  constructor(world: World, mailbox: Mailbox) {
    this.#world = world;
    this.#mailbox = mailbox;
    mailbox.on<RemoteRound>("round", (round) => void this.#visited(round));
    mailbox.on<{ id: string }>("left", ({ id }) => this.#visitors.get(id)?.abort());
    mailbox.on<{ id: string; outcome: Outcome }>("outcome", ({ id, outcome }) =>
      this.#elsewhere.get(id)?.(outcome),
    );
  }

  /** A call that may be asked something. `work` makes it; it goes on when this answers `input_required`. */
  run(
    call: ToolCall,
    wrap: (at: HeldAt) => string,
    work: (call: ToolCall) => Promise<Reply>,
  ): Promise<Reply> {
    const held = new HeldCall(newId(this.#world, "held"), call.caller.binding, wrap);
    const { signal, onNotification } = call;
    const watched: ToolCall = {
      ...call,
      signal: held.departure.signal,
      onNotification: onNotification && ((notification) => held.sink?.(notification)),
      ask: held.ask,
    };
    held.reply = work(watched).finally(() => this.#ended(held));
    // Nobody may be there to hear of it; who is, awaits it too.
    held.reply.catch(() => undefined);
    return this.#round(held, signal, onNotification);
  }

  /** The next round. Throws `Refusal` -32602 when the call is not held any more. */
  async resume(call: ToolCall, at: HeldAt, responses: JsonObject): Promise<Reply> {
    const { binding } = call.caller;
    if (at.replica !== this.#mailbox.replica) return this.#resumeElsewhere(call, at, responses);
    const held = this.#take(at, binding, responses);
    return await this.#round(held, call.signal, undefined);
  }

  #take(at: HeldAt, binding: string, responses: JsonObject): HeldCall {
    const held = this.#held.get(at.id);
    // MC-32: once, by the same caller. The state was sealed for both; this is the second lock.
    if (!held || held.binding !== binding || held.busy || held.round !== at.round) throw notHeld();
    held.take(responses);
    held.busy = true;
    clearTimeout(held.deadline);
    return held;
  }

  async #round(held: HeldCall, client: Gone, sink: NotificationSink | undefined): Promise<Reply> {
    const leave = () => held.departure.abort();
    client.addEventListener("abort", leave);
    if (client.aborted) leave();
    held.sink = sink;
    try {
      const reply = await Promise.race([held.reply, held.asked()]);
      if (!reply) return this.#ask(held);
      this.#forget(held);
      return reply;
    } catch (error) {
      this.#forget(held);
      throw error;
    } finally {
      held.sink = undefined;
      client.removeEventListener("abort", leave);
    }
  }

  #ask(held: HeldCall): Reply {
    this.#keep(held);
    held.round += 1;
    held.busy = false;
    held.deadline = setTimeout(() => this.#late(held), ROUND_MS).unref();
    const at = { replica: this.#mailbox.replica, id: held.id, round: held.round };
    return {
      result: {
        resultType: "input_required",
        inputRequests: held.questions,
        requestState: held.wrap(at),
      },
    };
  }

  #late(held: HeldCall): void {
    held.departure.abort();
    if (held.isOver) this.#forget(held);
  }

  #keep(held: HeldCall): void {
    if (this.#held.has(held.id)) return;
    const own = [...this.#held.values()].filter(({ binding }) => binding === held.binding).length;
    if (own >= MAX_OF_CALLER || this.#held.size >= MAX_HELD) {
      held.departure.abort();
      const message = "Too many calls wait for an answer already. Answer some of them first.";
      throw new Problem("too_many", "too_many_calls", message, { retryAfter: 10 });
    }
    this.#held.set(held.id, held);
  }

  /** An upstream need not wait for what it asked. Whoever was sent away with the question gets the answer in the next round. */
  #ended(held: HeldCall): void {
    if (held.busy || !this.#held.has(held.id)) {
      this.#forget(held);
      return;
    }
    held.isOver = true;
    const over = [...this.#held.values()].filter(({ isOver }) => isOver);
    if (over.length > MAX_ENDED) this.#forget(over[0]!);
  }

  #forget(held: HeldCall): void {
    clearTimeout(held.deadline);
    this.#held.delete(held.id);
  }

  async #resumeElsewhere({ caller, signal }: ToolCall, at: HeldAt, responses: JsonObject): Promise<Reply> {
    const id = newId(this.#world, "round");
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.#elsewhere.set(id, resolve);
    const back = { replica: this.#mailbox.replica, id };
    const round: RemoteRound = { at, binding: caller.binding, responses, back };
    const leave = () => void this.#mailbox.send(at.replica, "left", { id }).catch(() => undefined);
    let patience: NodeJS.Timeout | undefined;
    try {
      const message = await this.#mailbox.send(at.replica, "round", round);
      patience = setTimeout(() => {
        // Nobody picked it up: that replica is gone, and the call with it.
        this.#mailbox.withdraw(message).then(
          (unread) => unread && resolve(refused(notHeld())),
          () => resolve(refused(notHeld())),
        );
      }, PICKED_UP_MS);
      signal.addEventListener("abort", leave);
      const outcome = await promise;
      if ("reply" in outcome) return outcome.reply;
      const { code: number, message: text, status } = outcome.refused;
      throw new Refusal(number, text, { status });
    } finally {
      clearTimeout(patience);
      signal.removeEventListener("abort", leave);
      this.#elsewhere.delete(id);
    }
  }

  /** A round of a call that is held here, from another replica. */
  async #visited({ at, binding, responses, back }: RemoteRound): Promise<void> {
    const departure = new AbortController();
    this.#visitors.set(back.id, departure);
    let outcome: Outcome;
    try {
      const held = this.#take(at, binding, responses);
      outcome = { reply: await this.#round(held, departure.signal, undefined) };
    } catch (error) {
      outcome = refused(error);
    }
    this.#visitors.delete(back.id);
    this.#mailbox
      .send(back.replica, "outcome", { id: back.id, outcome })
      .catch((error) => this.#world.log.warn("mcp.message_lost", { error }));
  }
}

function notHeld(): Refusal {
  const message = "This call is not held any more. Send it anew, without the requestState.";
  return new Refusal(code.invalidParams, message);
}

function refused(error: unknown): Outcome {
  const known = error instanceof Refusal ? error : undefined;
  return {
    refused: {
      code: known?.code ?? code.internal,
      message: known?.message ?? "Something went wrong on our side.",
      status: known?.status ?? 200,
    },
  };
}
