import type { Gone, JsonObject, World } from "../base/index.ts";
import { pause } from "./ask-user.ts";
import type { Target } from "./catalog.ts";
import { failureReply } from "./failures.ts";
import { code } from "./refusal.ts";
import type { Reply } from "./reply.ts";
import { intervalOf, isOver } from "./task-words.ts";
import type { ToolCall } from "./tool-call.ts";
import { inputResponses } from "./upstream-asks.ts";

/**
 * What one request about a task came to: the upstream's result, or what its client is to be told instead. `told`: the
 * upstream answered it, with an error.
 */
export type Stepped = { result: JsonObject } | { reply: Reply; told?: true };

/** Sends one request about a task to its upstream. */
export type Step = (method: string, params: JsonObject) => Promise<Stepped>;

/** Who waits for the end of a task, and for how long. */
export interface Waiting {
  world: World;
  call: ToolCall;
  target: Target;
  /** The upstream's own id. */
  own: string;
  /** Milliseconds, without the time in which the person is asked. */
  patienceMs: number;
}

/**
 * Waits until a task of the extension is over: looks as often as its upstream wants, and puts its questions to an older
 * client that can be asked. Resolves with the task at its end.
 */
export async function endOf(step: Step, waiting: Waiting): Promise<Stepped> {
  const { call, own } = waiting;
  const answered = new Set<string>();
  let left = waiting.patienceMs;
  for (;;) {
    const looked = await step("tasks/get", { taskId: own });
    if ("reply" in looked || isOver(looked.result)) return looked;
    const open = openQuestions(looked.result, answered);
    if (open) {
      const responses = await inputResponses(waiting.world, call, waiting.target, open);
      if (!responses) return { reply: unanswered(waiting) };
      // SEP-2663: the update may take a while to be seen; nobody is asked twice.
      for (const key in open) answered.add(key);
      const updated = await step("tasks/update", { taskId: own, inputResponses: responses });
      if ("reply" in updated) return updated;
      continue;
    }
    const interval = Math.min(intervalOf(looked.result), left);
    if (left <= 0) return { reply: failed(waiting, "upstream_timeout") };
    await pause(interval, call.signal);
    left -= interval;
    if (call.signal.aborted) return { reply: failed(waiting, "cancelled") };
  }
}

/** What is asked and was not answered yet. */
function openQuestions({ status, inputRequests }: JsonObject, answered: ReadonlySet<string>) {
  if (status !== "input_required") return undefined;
  const open = Object.entries(inputRequests as JsonObject).filter(([key]) => !answered.has(key));
  return open.length > 0 ? (Object.fromEntries(open) as JsonObject) : undefined;
}

function failed({ call, target }: Waiting, code: "upstream_timeout" | "cancelled"): Reply {
  return failureReply(target, { outcome: "failed", code, retryable: false }, call.requestId);
}

function unanswered({ target }: Waiting): Reply {
  const message = `${target.upstream.name} asks for more before it can go on, and this client cannot pass the question on.`;
  return { error: { code: code.internal, message } };
}

/** A signal that nobody's going aborts. */
export function lasting(): Gone {
  return new AbortController().signal;
}
