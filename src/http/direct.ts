import type { Gone, Log } from "../base/index.ts";
import { readBody } from "./body.ts";
import type { RouteContext } from "./route.ts";

/** Header values by name in lower case; a header sent twice is joined with a comma, so that neither value is taken for the whole. */
export interface HeaderReader extends Pick<Headers, "get"> {
  /** The same object for all requests of one connection; absent where there is none. */
  readonly connection?: object;
}

/** A request as direct routes read it, whichever edge it came in by. */
export interface Inbound {
  headers: HeaderReader;
  /** Tells when the sender has gone without waiting for the answer. */
  gone: Gone;
  /** The body, whole. Throws 413, or 415 for a compressed one: its size is not what it seems. */
  bytes(maxBytes: number): Promise<Uint8Array>;
}

export interface DirectContext extends Pick<RouteContext<unknown>, "remote" | "requestId" | "log"> {
  inbound: Inbound;
  params: Record<string, string>;
  log: Log;
}

/** An answer whose body is text. Its headers are whole: nothing is added but the length. */
export interface PlainAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/**
 * A handler of the hot path. Behind a port it is served without a `Request`, a `Headers` and a `Response`: together they
 * cost more than all else a call does (docs/decisions/0014-direct-routes.md).
 */
export type DirectHandler = (context: DirectContext) => Promise<PlainAnswer | Response>;

/** The same handler for the edge that speaks `Request` and `Response`. */
export async function answerWeb(
  handle: DirectHandler,
  { request, params, remote, requestId, log }: RouteContext<unknown>,
): Promise<Response> {
  const inbound: Inbound = {
    headers: request.headers,
    gone: request.signal,
    bytes: (maxBytes) => readBody(request, maxBytes),
  };
  const named = (params ?? {}) as Record<string, string>;
  const answer = await handle({ inbound, params: named, remote, requestId, log });
  return answer instanceof Response ? answer : new Response(answer.body, answer);
}
