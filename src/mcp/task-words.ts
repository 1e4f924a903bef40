import type { JsonObject } from "../base/index.ts";
import { relatedTask, type TaskForm } from "../relay/index.ts";
import { isObject } from "./body.ts";

/** Members of a task that exist in one form alone, or say the same under another name. */
const formal: ReadonlySet<string> = new Set([
  "taskId",
  "ttl",
  "ttlMs",
  "pollInterval",
  "pollIntervalMs",
  "result",
  "error",
  "inputRequests",
  "requestState",
  "resultType",
  "_meta",
]);

export function isOver({ status }: JsonObject): boolean {
  return status === "completed" || status === "failed" || status === "cancelled";
}

/** A task under our id, in the form its reader knows; what a status brings with it stays behind. Other members are kept. */
export function taskAs(form: TaskForm, id: string, task: JsonObject, of: TaskForm): JsonObject {
  const said: JsonObject = { taskId: id };
  for (const name in task) if (!formal.has(name)) said[name] = task[name]!;
  const ttl = of === "core" ? task.ttl : task.ttlMs;
  const interval = of === "core" ? task.pollInterval : task.pollIntervalMs;
  if (form === "extension") {
    // SEP-2663: integer milliseconds.
    said.ttlMs = positive(ttl);
    const every = positive(interval);
    if (every !== null) said.pollIntervalMs = every;
    return said;
  }
  said.ttl = typeof ttl === "number" ? ttl : null;
  if (typeof interval === "number") said.pollInterval = interval;
  // 2025-11-25: for a call of a tool "failed" is also a result that says so.
  if (task.status === "completed" && isObject(task.result) && task.result.isError === true)
    said.status = "failed";
  return said;
}

function positive(value: unknown): number | null {
  if (typeof value !== "number") return null;
  const whole = Math.round(value);
  return Number.isSafeInteger(whole) && whole > 0 ? whole : null;
}

/** How long to wait until the next look, in milliseconds: what the upstream wants, within reason. */
export function intervalOf({ pollInterval, pollIntervalMs }: JsonObject): number {
  const wanted = pollIntervalMs ?? pollInterval;
  return typeof wanted === "number" && wanted > 0 ? Math.min(Math.max(wanted, 50), 5_000) : 1_000;
}

/** Says which task a message belongs to, or nothing of it: the id is one of the next hop's, or meant for no other. */
export function withRelated(message: JsonObject, taskId: string | undefined): JsonObject {
  const meta = isObject(message._meta) ? message._meta : undefined;
  if (taskId !== undefined) return { ...message, _meta: { ...meta, [relatedTask]: { taskId } } };
  if (meta?.[relatedTask] === undefined) return message;
  const { [relatedTask]: _, ...rest } = meta;
  const { _meta, ...plain } = message;
  return Object.keys(rest).length > 0 ? { ...plain, _meta: rest } : plain;
}

/** The task that a message says it belongs to. */
export function relatedId(message: JsonObject | undefined): unknown {
  const meta = message?._meta;
  const related = isObject(meta) ? meta[relatedTask] : undefined;
  return isObject(related) ? related.taskId : undefined;
}
