import type { Json, JsonObject } from "../base/index.ts";

/** JSON-RPC 2.0 §5.1 and the codes of 2026-07-28 (protocol section 1.4). */
export const code = {
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
  sessionNotFound: -32001,
  /** 2025-11-25 "Resources"; 2026-07-28 has -32602 for it. */
  resourceNotFound: -32002,
  headerMismatch: -32020,
  missingCapability: -32021,
  unsupportedVersion: -32022,
  urlElicitationRequired: -32042,
} as const;

/** A refusal in JSON-RPC words. `message` is for the caller. */
export class Refusal extends Error {
  readonly code: number;
  readonly status: number;
  readonly data?: Json;
  /** Seconds, for `Retry-After`. */
  readonly retryAfter?: number;
  /** The request's id, as far as it was read. */
  id: string | number | null = null;

  constructor(
    code: number,
    message: string,
    options: { status?: number; data?: JsonObject; retryAfter?: number } = {},
  ) {
    super(message);
    this.name = "Refusal";
    this.code = code;
    this.status = options.status ?? 400;
    this.data = options.data;
    this.retryAfter = options.retryAfter;
  }
}

/** ID-30: there is no such tool, or it may not be used. */
export class UnknownTool extends Refusal {
  constructor() {
    super(code.invalidParams, "Unknown tool. List the tools to see what can be called.", { status: 200 });
  }
}
