import type { JsonObject } from "../base/index.ts";
import { RelayFault } from "./fault.ts";
import { isObject } from "./message.ts";

/**
 * Refuses results no client could read (MC-25); everything else passes as it came. An older upstream's result has no
 * `resultType`. Throws `RelayFault`.
 */
export function checkResult(method: string, result: JsonObject, era: "modern" | "legacy"): JsonObject {
  const type = era === "legacy" ? "complete" : (result.resultType ?? "complete");
  if (type === "input_required") return checkInputRequired(method, result);
  // SEP-2322: without `resultType` a result is complete; `task` is for those who declared it (check-tasks.ts).
  if (type !== "complete") throw new RelayFault("upstream_protocol");
  if (method !== "tools/call") return checkOther(method, result);
  if (result.content === undefined && result.structuredContent !== undefined)
    return { ...result, content: [] };
  const { content } = result;
  const readable =
    Array.isArray(content) && content.every((block) => isObject(block) && typeof block.type === "string");
  if (!readable) throw new RelayFault("upstream_protocol");
  return result;
}

/** The one member without which the official clients refuse the whole result. */
function checkOther(method: string, result: JsonObject): JsonObject {
  const readable =
    (method !== "prompts/get" || Array.isArray(result.messages)) &&
    (method !== "resources/read" || Array.isArray(result.contents)) &&
    (method !== "completion/complete" || isObject(result.completion));
  if (!readable) throw new RelayFault("upstream_protocol");
  return result;
}

/** 2026-07-28 MRTR: allowed on three methods only. */
const mayAsk = new Set(["tools/call", "prompts/get", "resources/read"]);
const MAX_INPUT_REQUESTS = 16;

function checkInputRequired(method: string, result: JsonObject): JsonObject {
  const { inputRequests, requestState } = result;
  const requests = inputRequests === undefined ? {} : inputRequests;
  const valid =
    mayAsk.has(method) &&
    areInputRequests(requests) &&
    (inputRequests !== undefined || requestState !== undefined) &&
    (requestState === undefined || typeof requestState === "string");
  if (!valid) throw new RelayFault("upstream_protocol");
  return result;
}

export function areInputRequests(value: unknown): boolean {
  return (
    isObject(value) &&
    Object.keys(value).length <= MAX_INPUT_REQUESTS &&
    Object.values(value).every((request) => isObject(request) && typeof request.method === "string")
  );
}
