import type { JsonObject } from "../base/index.ts";
import type { Attempted } from "./attempt.ts";
import type { RelayCall } from "./call.ts";
import { areInputRequests, checkResult } from "./check-result.ts";
import { RelayFault } from "./fault.ts";
import { isObject } from "./message.ts";

type Answered = Extract<Attempted, { outcome: "result" }>;

const statuses: ReadonlySet<unknown> = new Set([
  "working",
  "input_required",
  "completed",
  "failed",
  "cancelled",
]);
/** Ours holds theirs and travels in a header. */
const MAX_TASK_ID = 1_024;
const MAX_LISTED = 1_000;

/**
 * What `checkResult` is to other answers, for those in which tasks may be: says whether the result is one, and in which
 * form. Throws `RelayFault` for what no client could read (MC-25).
 */
export function checkTasks(call: RelayCall, answered: Answered, era: "modern" | "legacy"): Attempted {
  let isTask = false;
  try {
    const checked = check(call, answered, era);
    isTask = checked.task !== undefined;
    return checked;
  } finally {
    if (!isTask) answered.news?.stop();
  }
}

function check(call: RelayCall, answered: Answered, era: "modern" | "legacy"): Answered {
  const { result } = answered;
  const task = era === "modern" ? "extension" : "core";
  switch (call.method) {
    case "tools/call":
      if (!isTask(call, result, era)) break;
      checkTask(era === "modern" ? result : result.task);
      return { ...answered, task };
    case "tasks/get":
      checkTask(result, call.params?.taskId);
      if (era === "legacy") return { ...answered, task };
      checkComplete(result);
      return { ...answered, result: checkPayload(result), task };
    case "tasks/cancel":
      // The extension answers with nothing but that it was heard.
      if (era === "legacy") checkTask(result, call.params?.taskId);
      else checkComplete(result);
      return { ...answered, task };
    case "tasks/list":
      checkList(result);
      return { ...answered, task };
    case "tasks/result":
      return { ...answered, result: checkResult("tools/call", result, "legacy"), task };
    case "tasks/update":
      checkComplete(result);
      return { ...answered, task };
  }
  return { ...answered, result: checkResult(call.method, result, era) };
}

/** A server that does not make a task of it just answers, in both forms. */
function isTask({ params }: RelayCall, result: JsonObject, era: "modern" | "legacy"): boolean {
  if (era === "modern") return result.resultType === "task";
  return params?.task !== undefined && isObject(result.task);
}

/** `id`: the one that was asked for. */
function checkTask(task: unknown, id?: unknown): void {
  if (!isReadableTask(task, id)) throw new RelayFault("upstream_protocol");
}

/** Whether a client could read it, of what is in every task. */
export function isReadableTask(task: unknown, id?: unknown): boolean {
  return (
    isObject(task) &&
    typeof task.taskId === "string" &&
    task.taskId.length > 0 &&
    task.taskId.length <= MAX_TASK_ID &&
    (id === undefined || task.taskId === id) &&
    statuses.has(task.status) &&
    typeof task.createdAt === "string" &&
    typeof task.lastUpdatedAt === "string"
  );
}

/** Tasks extension, "Task Polling": what goes with which status. */
function checkPayload(task: JsonObject): JsonObject {
  const { status, result, error, inputRequests } = task;
  const readable =
    (status !== "input_required" || areInputRequests(inputRequests)) &&
    (status !== "completed" || isObject(result)) &&
    (status !== "failed" ||
      (isObject(error) && Number.isSafeInteger(error.code) && typeof error.message === "string"));
  if (!readable) throw new RelayFault("upstream_protocol");
  if (status !== "completed") return task;
  return { ...task, result: checkResult("tools/call", result as JsonObject, "legacy") };
}

/** The extension knows no other type for an answer about a task. */
function checkComplete({ resultType = "complete" }: JsonObject): void {
  if (resultType !== "complete") throw new RelayFault("upstream_protocol");
}

function checkList({ tasks }: JsonObject): void {
  if (!Array.isArray(tasks) || tasks.length > MAX_LISTED) throw new RelayFault("upstream_protocol");
  for (const task of tasks) checkTask(task);
}
