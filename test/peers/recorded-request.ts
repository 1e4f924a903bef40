import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";

/** A JSON-RPC message as far as a peer looks at it. */
export interface RpcMessage {
  jsonrpc?: string;
  id?: string | number | null;
  method?: string;
  params?: Record<string, unknown> & { _meta?: Record<string, unknown> };
}

/** One HTTP request as it arrived. */
export interface RecordedRequest {
  method: string;
  /** Path and query. */
  path: string;
  headers: IncomingHttpHeaders;
  /** Names and values in turn, as sent: case, order, repetitions. */
  rawHeaders: string[];
  bodyText: string;
  /** The body where it is JSON. */
  body: RpcMessage | undefined;
  /** The JSON-RPC method, where there is one. */
  rpc: string | undefined;
}

export async function recordRequest(req: IncomingMessage): Promise<RecordedRequest> {
  const bodyText = await text(req);
  const body = parse(bodyText);
  return {
    method: req.method ?? "",
    path: req.url ?? "",
    headers: req.headers,
    rawHeaders: req.rawHeaders,
    bodyText,
    body,
    rpc: body?.method,
  };
}

function parse(bodyText: string): RpcMessage | undefined {
  try {
    return JSON.parse(bodyText) as RpcMessage;
  } catch {
    return undefined;
  }
}
