import type { Json, JsonObject } from "../base/index.ts";
import { RelayFault } from "./fault.ts";

export interface RpcError {
  code: number;
  message: string;
  data?: Json;
}

/** What an upstream said in answer to one request, checked (MC-25). */
export type RpcMessage =
  | { kind: "result"; result: JsonObject }
  | { kind: "error"; error: RpcError }
  | { kind: "notification"; method: string; params?: JsonObject }
  | { kind: "request"; id: Json; method: string; params?: JsonObject };

/**
 * Reads one JSON-RPC 2.0 message that belongs to the request `id`. An answer to anything else, both or neither of
 * `result` and `error`, a batch: `RelayFault` `upstream_protocol`.
 */
export function readMessage(value: Json, id: number): RpcMessage {
  if (!isObject(value) || value.jsonrpc !== "2.0") throw new RelayFault("upstream_protocol");
  if (typeof value.method === "string") return readCall(value, value.method);
  if (value.id !== id) throw new RelayFault("upstream_protocol");
  const error = readError(value);
  if (error !== undefined && value.result === undefined) return { kind: "error", error };
  if (error !== undefined || !isObject(value.result)) throw new RelayFault("upstream_protocol");
  return { kind: "result", result: value.result };
}

/** A message that has a `method`: a request or a notification. */
export function readCall(
  value: JsonObject,
  method: string,
): Extract<RpcMessage, { kind: "notification" | "request" }> {
  const params = isObject(value.params) ? value.params : undefined;
  if (value.id !== undefined) return { kind: "request", id: value.id, method, params };
  return { kind: "notification", method, params };
}

/** The `error` member; undefined when there is none. Throws when it is not one. */
export function readError(value: JsonObject): RpcError | undefined {
  const error = value.error;
  if (error === undefined) return undefined;
  if (!isObject(error) || !Number.isSafeInteger(error.code) || typeof error.message !== "string") {
    throw new RelayFault("upstream_protocol");
  }
  return { code: error.code as number, message: error.message, data: error.data };
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !("rawJSON" in value);
}

/** The id that a message names which the strict reader refuses; it is trusted for nothing but that. */
export function idIn(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) && value.method === undefined ? value.id : undefined;
  } catch {
    return undefined;
  }
}
