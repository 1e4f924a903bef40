import { type JsonObject, newId, Problem, type World } from "../base/index.ts";
import { pause } from "./ask-user.ts";
import { isObject } from "./body.ts";
import type { Caller } from "./caller.ts";
import { HeldCall } from "./held-call.ts";
import type { Mailbox } from "./mailbox.ts";
import type { TaskCall } from "./task-requests.ts";
import type { Stepped } from "./task-step.ts";
import { canBeAsked } from "./upstream-input.ts";

/** How long one look at a task waits for a question that its upstream says is there. */
const GRACE_MS = 500;
/** How long nobody has to look until it counts as left. */
const IDLE_MS = 10 * 60_000;
/** Tasks listened to at once, for one caller and in all. */
const MAX_OF_CALLER = 32;
const MAX_HELD = 2_000;

interface Task {
  /** Ours. */
  id: string;
}

interface Listening {
  held: HeldCall;
  task: string;
  reply: Promise<unknown>;
  idle: NodeJS.Timeout;
}

interface RemoteAnswers {
  held: string;
  task: string;
  binding: string;
  responses: JsonObject;
}

/**
 * What upstreams of 2025-11-25 want to know in the middle of a task, for clients of 2026-07-28: an upstream asks whoever waits
 * for the result and waits itself, so somebody here listens, and the client sees the questions when it looks at the task.
 * A question's key says where it is held, so that the answer finds it from any replica; that it was heard is all it is told.
 */
export class TaskQuestions {
  readonly #world: World;
  readonly #mailbox: Mailbox;
  /** By caller and task. */
  readonly #listening = new Map<string, Listening>();

  constructor(world: World, mailbox: Mailbox) {
    this.#world = world;
    this.#mailbox = mailbox;
    mailbox.on<RemoteAnswers>("task_answers", (answers) => {
      try {
        this.#take(answers);
      } catch (error) {
        world.log.debug("mcp.task_answer_refused", { error });
      }
    });
  }

  /** The questions that are open here; undefined when there are none. `listen`: waits for the result at the upstream. */
  async of(
    call: TaskCall,
    task: Task,
    listen: (asking: TaskCall) => Promise<Stepped>,
  ): Promise<JsonObject | undefined> {
    const key = keyOf(call.caller, task);
    const listening = this.#listening.get(key) ?? this.#listen(key, call, task, listen);
    listening.idle.refresh();
    const enough = new AbortController();
    call.signal.addEventListener("abort", () => enough.abort());
    const { held, reply } = listening;
    await Promise.race([held.asked(), reply, pause(GRACE_MS, enough.signal)]);
    enough.abort();
    const open = Object.entries(held.questions);
    if (open.length === 0) return undefined;
    return Object.fromEntries(
      open.map(([at, question]) => [`${this.#mailbox.replica}.${held.id}.${at}`, question]),
    );
  }

  /** Takes answers to those that are still open, and no notice of others. Throws `Refusal` -32602 for one that is no object. */
  async answer({ binding }: Caller, { id }: Task, responses: JsonObject): Promise<void> {
    const places = new Map<string, RemoteAnswers & { replica: string }>();
    for (const [key, response] of Object.entries(responses)) {
      const [replica, held, at] = key.split(".");
      if (!replica || !held || !at || !isObject(response)) continue;
      const place = places.get(held) ?? { replica, held, task: id, binding, responses: {} };
      place.responses[at] = response;
      places.set(held, place);
    }
    for (const { replica, ...answers } of places.values()) {
      if (replica === this.#mailbox.replica) this.#take(answers);
      else await this.#mailbox.send(replica, "task_answers", answers);
    }
  }

  #take({ held: id, task, binding, responses }: RemoteAnswers): void {
    for (const { held, task: of } of this.#listening.values()) {
      if (held.id === id && of === task && held.binding === binding) held.take(responses);
    }
  }

  #listen(
    key: string,
    call: TaskCall,
    { id }: Task,
    listen: (asking: TaskCall) => Promise<Stepped>,
  ): Listening {
    const { binding } = call.caller;
    const own = [...this.#listening.values()].filter(({ held }) => held.binding === binding).length;
    if (own >= MAX_OF_CALLER || this.#listening.size >= MAX_HELD) {
      const message = "Too many tasks wait for an answer already. Answer some of them first.";
      throw new Problem("too_many", "too_many_calls", message, { retryAfter: 10 });
    }
    const held = new HeldCall(newId(this.#world, "held"), binding, () => "");
    const { signal } = held.departure;
    const ask = canBeAsked(call.client) ? held.ask : undefined;
    const idle = setTimeout(() => held.departure.abort(), IDLE_MS).unref();
    const reply = listen({ ...call, signal, onNotification: undefined, ask })
      // What it came to is asked for again once the task is over.
      .catch((error) => this.#world.log.debug("mcp.task_not_listened_to", { error }))
      .finally(() => {
        clearTimeout(idle);
        this.#listening.delete(key);
      });
    const listening: Listening = { held, task: id, reply, idle };
    this.#listening.set(key, listening);
    return listening;
  }
}

function keyOf({ binding }: Caller, { id }: Task): string {
  return `${binding} ${id}`;
}
