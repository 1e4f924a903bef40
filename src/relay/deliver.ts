import type { JsonObject } from "../base/index.ts";
import type { RelayCall } from "./call.ts";
import { isObject, type RpcMessage } from "./message.ts";

/**
 * Hands a notification of this request to the client's side, its progress token exchanged for the client's own. What
 * belongs to another request, or was not asked for, goes nowhere.
 */
export function deliver(
  call: RelayCall,
  id: number,
  message: Extract<RpcMessage, { kind: "notification" }>,
): void | Promise<void> {
  if (!call.onNotification) return;
  const { method, params } = message;
  if (method === "notifications/message") return call.onNotification({ method, params });
  // 2025-11-25: to the client that was sent to the page, and no other; 2026-07-28 has no such word.
  if (method === "notifications/elicitation/complete" && call.onRequest && call.client.era === "legacy")
    return call.onNotification({ method, params });
  if (method === "notifications/tasks/status" && call.tasks) return call.onNotification({ method, params });
  if (method !== "notifications/progress") return;
  // 2025-11-25 "Task Progress": on the stream of those who wait for the result, still under the token of the call.
  if (call.method === "tasks/result" && typeof params?.progressToken === "string")
    return call.onNotification({ method, params, isOfTask: true });
  if (params?.progressToken !== (call.progressToken ?? id)) return;
  const token = progressToken(call.params);
  if (token === undefined) return;
  return call.onNotification({ method, params: { ...params, progressToken: token } });
}

function progressToken(params: JsonObject | undefined): string | number | undefined {
  const meta = params?._meta;
  const token = isObject(meta) ? meta.progressToken : undefined;
  return typeof token === "string" || typeof token === "number" ? token : undefined;
}
