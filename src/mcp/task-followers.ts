import type { JsonObject, Log } from "../base/index.ts";
import { pause } from "./ask-user.ts";
import type { ClientStreams } from "./client-streams.ts";
import type { Listener } from "./listener.ts";
import { code, Refusal } from "./refusal.ts";
import type { TaskCall } from "./task-requests.ts";
import { knowsTasks, missingExtension } from "./task-support.ts";
import { intervalOf, isOver } from "./task-words.ts";
import type { Tasks } from "./tasks.ts";

/** Tasks one stream may follow, and how often it is looked at least far apart. */
const MOST = 16;
const EVERY_MS = 1_000;

/**
 * `taskIds` of a `subscriptions/listen` (tasks extension, "Task Status Notifications"): looks at each task on behalf of whoever
 * listens, in either form, and tells what changed, until it is over or nobody listens.
 */
export class TaskFollowers {
  readonly #tasks: Tasks;
  readonly #log: Log;
  readonly #following = new Map<Listener, AbortController>();

  constructor(tasks: Tasks, streams: Pick<ClientStreams, "left">, log: Log) {
    this.#tasks = tasks;
    this.#log = log;
    streams.left.push((listener) => this.#leave(listener));
  }

  /** The tasks among `asked` that this caller has. Throws `Refusal` -32021 without the extension, -32602 for no list of ids. */
  async honour(who: Pick<TaskCall, "caller" | "client" | "headers">, asked: unknown): Promise<string[]> {
    if (asked === undefined) return [];
    if (!knowsTasks(who.client)) throw missingExtension();
    if (!Array.isArray(asked) || !asked.every((id) => typeof id === "string")) {
      throw new Refusal(code.invalidParams, 'Send "taskIds" as ids of tasks.');
    }
    const ids = [...new Set(asked as string[])].slice(0, MOST);
    const known = await Promise.all(ids.map((taskId) => this.#tasks.knows({ ...who, params: { taskId } })));
    return ids.filter((_, at) => known[at]);
  }

  follow(listener: Listener, ids: readonly string[], requestId: string): void {
    if (ids.length === 0 || listener.isGone) return;
    const departure = new AbortController();
    this.#following.set(listener, departure);
    for (const taskId of ids) {
      this.#watch(listener, taskId, departure.signal, requestId).catch((error) =>
        this.#log.debug("mcp.task_not_followed", { error }),
      );
    }
  }

  async #watch(listener: Listener, taskId: string, signal: AbortSignal, requestId: string): Promise<void> {
    const params = { taskId };
    let told = "";
    while (!signal.aborted) {
      const { caller, client, headers } = listener;
      const again = told !== "";
      const look = { caller, client, headers, params, signal, requestId, method: "tasks/get", again };
      const reply = await this.#tasks.call(look);
      // Not known any more, or not allowed: its client finds out when it looks.
      if (signal.aborted || "error" in reply) return;
      const { resultType: _type, _meta, ...task } = reply.result;
      const stands = JSON.stringify(task);
      if (stands !== told) listener.send({ method: "notifications/tasks", params: task as JsonObject });
      told = stands;
      if (isOver(task as JsonObject)) return;
      await pause(
        Math.max(intervalOf({ pollIntervalMs: task.pollIntervalMs ?? EVERY_MS }), EVERY_MS),
        signal,
      );
    }
  }

  #leave(listener: Listener): void {
    this.#following.get(listener)?.abort();
    this.#following.delete(listener);
  }
}
