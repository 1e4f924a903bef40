import type { JsonObject } from "../base/index.ts";
import { FinishedTasks } from "./finished-tasks.ts";
import type { McpParts } from "./parts.ts";
import { code, Refusal } from "./refusal.ts";
import { complete, type Reply } from "./reply.ts";
import { type Known, type TaskCall, type TaskRequests, unknownTask } from "./task-requests.ts";
import { taskAs, withRelated } from "./task-words.ts";

/** Requests about a task that is kept here because it was over at once; no upstream is asked. */
export class KeptTasks {
  readonly #finished: FinishedTasks;
  readonly #requests: TaskRequests;

  constructor(parts: Pick<McpParts, "world" | "database" | "seal">, requests: TaskRequests) {
    this.#finished = new FinishedTasks(parts);
    this.#requests = requests;
  }

  async answer(call: TaskCall, { own, id }: Known): Promise<Reply> {
    const { caller, client, method } = call;
    const kept = await this.#finished.find(caller, own);
    if (!kept) throw unknownTask();
    const { task, result } = kept;
    const say = (said: JsonObject) => this.#requests.complete(call, said);
    if (method === "tasks/result") return say(withRelated(result, id));
    if (client.era === "legacy") {
      if (method === "tasks/get") return say(taskAs("core", id, task, "core"));
      const message = `The task is over already: ${task.status}.`;
      throw new Refusal(code.invalidParams, message, { status: 200 });
    }
    if (method !== "tasks/get") return say({});
    const plain = complete({ ...client, era: "legacy" }, this.#requests.self, result);
    return say({ ...taskAs("extension", id, { ...task, status: "completed" }, "core"), result: plain });
  }
}
